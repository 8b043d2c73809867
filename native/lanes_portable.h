// Eight floats in plain C++: the compiler makes of them what the machine has.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels.h"

namespace colonnade {

struct PortableLanes {
    static constexpr int kWidth = 8;
    struct Ints;
    float v[8];

    static PortableLanes set(float x) {
        PortableLanes r;
        for (int i = 0; i < 8; i++) r.v[i] = x;
        return r;
    }
    static PortableLanes zero() { return set(0.0f); }
    static PortableLanes load(const float* p) {
        PortableLanes r;
        for (int i = 0; i < 8; i++) r.v[i] = p[i];
        return r;
    }
    // Eight 8-bit floats (E4M3) that are numbers: the bits go to their places in a float32, the biases' difference on top.
    static PortableLanes load_e4m3(const uint8_t* p) {
        PortableLanes r;
        for (int i = 0; i < 8; i++) {
            const uint32_t bits = (p[i] & 0x7fu) << 20 | (p[i] & 0x80u) << 24;
            std::memcpy(&r.v[i], &bits, 4);
            r.v[i] *= 0x1p120f;
        }
        return r;
    }
    static PortableLanes load(const Brief* p) {
        PortableLanes r;
        for (int i = 0; i < 8; i++) {
            const uint32_t bits = static_cast<uint32_t>(p[i].bits) << 16;
            std::memcpy(&r.v[i], &bits, 4);
        }
        return r;
    }
    static PortableLanes load(const Half* p) {
        PortableLanes r;
        for (int i = 0; i < 8; i++) r.v[i] = widen(p[i]);
        return r;
    }
    void store(Half* p) const {
        for (int i = 0; i < 8; i++) p[i] = halve(v[i]);
    }
    // The exponent's bias is mended by a product, which takes care of what is denormal in 16 bits.
    static float widen(Half half) {
        const uint32_t rest = half.bits & 0x7fffu;
        uint32_t bits = rest << 13;
        float wide;
        std::memcpy(&wide, &bits, 4);
        wide *= 0x1p112f;
        std::memcpy(&bits, &wide, 4);
        if (rest >= 0x7c00u) bits = 0x7f800000u | (rest & 0x3ffu) << 13 | (rest > 0x7c00u ? 0x400000u : 0u);
        bits |= (half.bits & 0x8000u) << 16;
        std::memcpy(&wide, &bits, 4);
        return wide;
    }
    static Half halve(float x) {
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        const uint32_t sign = bits >> 16 & 0x8000u;
        bits &= 0x7fffffffu;
        uint32_t half;
        if (bits > 0x7f800000u) {
            half = 0x7e00u | (bits >> 13 & 0x3ffu);  // Not a number.
        } else if (bits < 0x38800000u) {             // Denormal in 16 bits: adding a half brings the last bit into place.
            std::memcpy(&x, &bits, 4);
            x += 0.5f;
            std::memcpy(&half, &x, 4);
            half -= 0x3f000000u;
        } else {
            half = (bits - 0x38000000u + 0xfffu + (bits >> 13 & 1u)) >> 13;
            half = half < 0x7c00u ? half : 0x7c00u;
        }
        return {static_cast<uint16_t>(sign | half)};
    }
    // Rounded to nearest, of two the even one; lanes lie in [-32767, 32767].
    void store(int16_t* p) const {
        const float shift = 12582912.0f;  // 1.5 x 2^23: adding it rounds to a whole number.
        for (int i = 0; i < 8; i++) p[i] = static_cast<int16_t>(v[i] == v[i] ? (v[i] + shift) - shift : 0.0f);
    }
    static void prefetch(const void* p) {
#if defined(__GNUC__)
        __builtin_prefetch(p);
#endif
    }
    void store(float* p) const {
        for (int i = 0; i < 8; i++) p[i] = v[i];
    }
    static PortableLanes fma(PortableLanes a, PortableLanes b, PortableLanes c) {
        for (int i = 0; i < 8; i++) c.v[i] += a.v[i] * b.v[i];
        return c;
    }
    static PortableLanes add(PortableLanes a, PortableLanes b) {
        for (int i = 0; i < 8; i++) a.v[i] += b.v[i];
        return a;
    }
    static PortableLanes sub(PortableLanes a, PortableLanes b) {
        for (int i = 0; i < 8; i++) a.v[i] -= b.v[i];
        return a;
    }
    static PortableLanes mul(PortableLanes a, PortableLanes b) {
        for (int i = 0; i < 8; i++) a.v[i] *= b.v[i];
        return a;
    }
    static PortableLanes div(PortableLanes a, PortableLanes b) {
        for (int i = 0; i < 8; i++) a.v[i] /= b.v[i];
        return a;
    }
    // Where one is NaN: b.
    static PortableLanes max(PortableLanes a, PortableLanes b) {
        for (int i = 0; i < 8; i++) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
        return a;
    }
    static PortableLanes min(PortableLanes a, PortableLanes b) {
        for (int i = 0; i < 8; i++) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
        return a;
    }
    // x where x >= limit (or NaN), else 0; lane by lane, judged by `by`.
    static PortableLanes zero_below(PortableLanes x, PortableLanes by, float limit) {
        for (int i = 0; i < 8; i++) x.v[i] = by.v[i] < limit ? 0.0f : x.v[i];
        return x;
    }
    // 2 to the power of n, for lanes that hold whole numbers in [-126, 127].
    static PortableLanes power_of_two(PortableLanes n) {
        PortableLanes r;
        for (int i = 0; i < 8; i++) {
            const float whole = n.v[i] == n.v[i] ? n.v[i] : 0.0f;  // A NaN has no integer.
            const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
            std::memcpy(&r.v[i], &bits, 4);
        }
        return r;
    }
    float sum() const { return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7])); }
    float largest() const {
        float m = v[0];
        for (int i = 1; i < 8; i++) m = m > v[i] ? m : v[i];
        return m;
    }
    // Lane i of the result: the sum of rows[i].
    static PortableLanes sums(const PortableLanes* rows) {
        PortableLanes r;
        for (int i = 0; i < 8; i++) r.v[i] = rows[i].sum();
        return r;
    }
};

// Eight 32-bit sums of products.
struct PortableLanes::Ints {
    int32_t v[8];

    // Two numbers for each of the eight: those of the weight's rows, and one pair of activations for all.
    struct Pairs {
        int16_t v[16];
    };
    static Pairs widen(const int8_t* p) {
        Pairs r;
        for (int i = 0; i < 16; i++) r.v[i] = p[i];
        return r;
    }
    static Pairs repeat(const int16_t* p) {
        Pairs r;
        for (int i = 0; i < 16; i++) r.v[i] = p[i % 2];
        return r;
    }
    static Ints zero() { return {}; }
    static Ints dot(Pairs a, Pairs b, Ints c) {
        for (int i = 0; i < 8; i++) c.v[i] += a.v[2 * i] * b.v[2 * i] + a.v[2 * i + 1] * b.v[2 * i + 1];
        return c;
    }
    PortableLanes floats() const {
        PortableLanes r;
        for (int i = 0; i < 8; i++) r.v[i] = static_cast<float>(v[i]);
        return r;
    }
};

}  // namespace colonnade
