// Activations rounded to E4M3, with a scale for each 128 of a row, as 8-bit matrix units take them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels.h"

namespace colonnade {

constexpr float kLargest = 448.0f;

// The nearest number of E4M3, of two the even one; |x| is at most kLargest, or hardly above.
inline float nearest_e4m3(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const int32_t exponent = std::max<int32_t>(static_cast<int32_t>(bits >> 23 & 0xff) - 127, -6);
    const float unit = std::ldexp(1.0f, exponent - 3);
    return std::nearbyint(x / unit) * unit;
}

// A group's scale is its largest magnitude / 448. `from` may be `to`.
inline void round_groups(const float* from, int64_t width, float* to) {
    for (int64_t begin = 0; begin < width; begin += kGroup) {
        const int64_t end = std::min(begin + kGroup, width);
        float largest = 0.0f;
        for (int64_t i = begin; i < end; i++) largest = std::max(largest, std::fabs(from[i]));
        const float scale = largest / kLargest;
        for (int64_t i = begin; i < end; i++) to[i] = scale == 0.0f ? 0.0f * from[i] : nearest_e4m3(from[i] / scale) * scale;
    }
}

}  // namespace colonnade
