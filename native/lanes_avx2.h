// Eight floats in one AVX2 register. Include only from *_avx2.cpp.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "kernels.h"

namespace colonnade {

struct Avx2Lanes {
    static constexpr int kWidth = 8;
    struct Ints;
    __m256 v;

    static Avx2Lanes set(float x) { return {_mm256_set1_ps(x)}; }
    static Avx2Lanes zero() { return {_mm256_setzero_ps()}; }
    static Avx2Lanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
    // Eight 8-bit floats (E4M3) that are numbers: the bits go to their places in a float32, the biases' difference on top.
    static Avx2Lanes load_e4m3(const uint8_t* p) {
        const __m256i code = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
        const __m256i kept = _mm256_set1_epi32(static_cast<int>(0x87f00000));  // The sign was spread to the left.
        const __m256i bits = _mm256_and_si256(_mm256_slli_epi32(code, 20), kept);
        return {_mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0x1p120f))};
    }
    static Avx2Lanes load(const Brief* p) {
        const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
        return {_mm256_castsi256_ps(_mm256_slli_epi32(bits, 16))};
    }
    static Avx2Lanes load(const Half* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
    void store(Half* p) const {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
    static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
    // Rounded to nearest, of two the even one; lanes lie in [-32767, 32767].
    void store(int16_t* p) const {
        const __m256i whole = _mm256_cvtps_epi32(v);
        const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
    }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
    static Avx2Lanes fma(Avx2Lanes a, Avx2Lanes b, Avx2Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    static Avx2Lanes add(Avx2Lanes a, Avx2Lanes b) { return {_mm256_add_ps(a.v, b.v)}; }
    static Avx2Lanes sub(Avx2Lanes a, Avx2Lanes b) { return {_mm256_sub_ps(a.v, b.v)}; }
    static Avx2Lanes mul(Avx2Lanes a, Avx2Lanes b) { return {_mm256_mul_ps(a.v, b.v)}; }
    static Avx2Lanes div(Avx2Lanes a, Avx2Lanes b) { return {_mm256_div_ps(a.v, b.v)}; }
    // Where one is NaN: b.
    static Avx2Lanes max(Avx2Lanes a, Avx2Lanes b) { return {_mm256_max_ps(a.v, b.v)}; }
    static Avx2Lanes min(Avx2Lanes a, Avx2Lanes b) { return {_mm256_min_ps(a.v, b.v)}; }
    // x where x >= limit (or NaN), else 0; lane by lane, judged by `by`.
    static Avx2Lanes zero_below(Avx2Lanes x, Avx2Lanes by, float limit) {
        return {_mm256_andnot_ps(_mm256_cmp_ps(by.v, _mm256_set1_ps(limit), _CMP_LT_OQ), x.v)};
    }
    // 2 to the power of n, for lanes that hold whole numbers in [-126, 127].
    static Avx2Lanes power_of_two(Avx2Lanes n) {
        __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
        return {_mm256_castsi256_ps(_mm256_slli_epi32(biased, 23))};
    }
    float sum() const {
        __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        __m128 two = _mm_hadd_ps(four, four);
        return _mm_cvtss_f32(_mm_hadd_ps(two, two));
    }
    float largest() const {
        __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    }
    // Lane i of the result: the sum of rows[i].
    static Avx2Lanes sums(const Avx2Lanes* rows) {
        __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(rows[0].v, rows[1].v), _mm256_hadd_ps(rows[2].v, rows[3].v));
        __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(rows[4].v, rows[5].v), _mm256_hadd_ps(rows[6].v, rows[7].v));
        return {_mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31))};
    }
};

// Eight 32-bit sums of products. Kept as what they are: of a sum in the type that stands for any integers, the compiler makes
// a copy at each step.
struct Avx2Lanes::Ints {
    using Eight = int32_t __attribute__((vector_size(32)));
    Eight v;

    // Two numbers for each of the eight: those of the weight's rows, and one pair of activations for all.
    struct Pairs {
        __m256i v;
    };
    static Pairs widen(const int8_t* p) { return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
    static Pairs repeat(const int16_t* p) {
        int32_t both;
        __builtin_memcpy(&both, p, 4);
        return {_mm256_set1_epi32(both)};
    }
    static Ints zero() { return {Eight{}}; }
    static Ints dot(Pairs a, Pairs b, Ints c) { return {c.v + reinterpret_cast<Eight>(_mm256_madd_epi16(a.v, b.v))}; }
    Avx2Lanes floats() const { return {_mm256_cvtepi32_ps(reinterpret_cast<__m256i>(v))}; }
};

}  // namespace colonnade
