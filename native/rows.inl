// Stages that work on each row by itself, and the exponential function.
#pragma once

#include <math.h>

#include "kernels.h"

namespace colonnade {

// e to the power of x within 2 units in the last place; 0 below -87.3, and capped above 88.3; NaN stays NaN.
// Range reduction and polynomial after Cephes' expf (S. L. Moshier).
template <class L>
L exponential(L x) {
    const float low = -87.3f;
    L y = L::min(L::set(88.3f), L::max(L::set(low), x));
    const L shift = L::set(12582912.0f);  // 1.5 x 2^23: adding it rounds to a whole number.
    L n = L::sub(L::fma(y, L::set(1.44269504088896341f), shift), shift);
    y = L::fma(n, L::set(-0.693359375f), y);
    y = L::fma(n, L::set(2.12194440e-4f), y);
    L poly = L::set(1.9875691500e-4f);
    poly = L::fma(poly, y, L::set(1.3981999507e-3f));
    poly = L::fma(poly, y, L::set(8.3334519073e-3f));
    poly = L::fma(poly, y, L::set(4.1665795894e-2f));
    poly = L::fma(poly, y, L::set(1.6666665459e-1f));
    poly = L::fma(poly, y, L::set(5.0000001201e-1f));
    poly = L::fma(poly, L::mul(y, y), L::add(y, L::set(1.0f)));
    return L::zero_below(L::mul(poly, L::power_of_two(n)), x, low);
}

// The weight is padded with zeros to a multiple of 8, as the row is.
template <class L>
void rms_norm(const float* x, const float* weight, float epsilon, int64_t width, float* out) {
    L squares = L::zero();
    for (int64_t i = 0; i < width; i += 8) {
        L in = L::load(x + i);
        squares = L::fma(in, in, squares);
    }
    const L scale = L::set(1.0f / sqrtf(squares.sum() / static_cast<float>(width) + epsilon));
    for (int64_t i = 0; i < width; i += 8) L::mul(L::mul(L::load(x + i), scale), L::load(weight + i)).store(out + i);
}

template <class L>
L swiglu_lanes(L gate, L up) {
    L negated = L::sub(L::zero(), gate);
    return L::mul(L::div(gate, L::add(L::set(1.0f), exponential(negated))), up);
}

template <class L>
void swiglu(const float* gate, const float* up, int64_t width, float* out) {
    int64_t i = 0;
    for (; i + 8 <= width; i += 8) swiglu_lanes(L::load(gate + i), L::load(up + i)).store(out + i);
    if (i == width) return;
    float rest[3][8] = {};
    for (int64_t j = 0; j < width - i; j++) rest[0][j] = gate[i + j], rest[1][j] = up[i + j];
    swiglu_lanes(L::load(rest[0]), L::load(rest[1])).store(rest[2]);
    for (int64_t j = 0; j < width - i; j++) out[i + j] = rest[2][j];
}

template <class L>
void rope(const float* x, const float* cosines, const float* sines, int64_t heads, int64_t dim, float* out,
          int64_t out_stride) {
    const int64_t half = dim / 2;
    for (int64_t h = 0; h < heads; h++) {
        const float *left = x + h * dim, *right = left + half;
        float* to = out + h * out_stride;
        for (int64_t i = 0; i < half; i++) {
            const float a = left[i], b = right[i];
            to[i] = a * cosines[i] - b * sines[i];
            to[half + i] = b * cosines[i] + a * sines[i];
        }
    }
}

template <class L>
void halve(const float* x, int64_t count, Half* out) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) L::load(x + i).store(out + i);
    if (i == count) return;
    float rest[8] = {};
    Half halves[8];
    for (int64_t j = 0; j < count - i; j++) rest[j] = x[i + j];
    L::load(rest).store(halves);
    for (int64_t j = 0; j < count - i; j++) out[i + j] = halves[j];
}

}  // namespace colonnade
