// Matrix product of 8-bit integer weights with activations rounded to 16-bit integers, a scale for each group of columns.
//
// Products of pairs are added up in 32 bits: 128 x 127 x 32767 stays below 2^30, so a group's sum is exact, in any order
// and on any instruction set. Sixteen bits for the activations cost as many multiplications as eight do with AVX2 (which
// has no instruction that multiplies bytes without saturating), and leave the weights as the only rounding that counts.
#pragma once

#include "kernels.h"
#include "linear.inl"

namespace colonnade {

constexpr int64_t kRoundedBlock = 8 * kGroup;  // Columns that a pass over many rows keeps in the first-level cache.
constexpr int64_t kMostRounded = 4;            // Rows at a time: products need registers beside the sums.
constexpr int kPairCodes = 2 * kPanel;         // Codes of a pair of columns of a panel.

// Eight numbers of a row from x on, zeros where it ends.
template <class L>
L round_load(const float* x, int64_t left) {
    if (left >= 8) return L::load(x);
    float rest[8] = {};
    for (int64_t i = 0; i < left; i++) rest[i] = x[i];
    return L::load(rest);
}

template <class L>
void round_group(const float* x, int64_t columns, int16_t* codes, float* scale) {
    L most = L::zero(), poison = L::zero();
    for (int64_t k = 0; k < columns; k += 8) {
        const L in = round_load<L>(x + k, columns - k);
        most = L::max(most, L::max(in, L::sub(L::zero(), in)));
        poison = L::add(poison, L::mul(in, L::zero()));  // Not a number, from the first that is not finite on.
    }
    const float largest = most.largest();
    *scale = largest * (1.0f / 32767.0f) + poison.sum();
    const L inverse = L::set(largest > 1e-30f ? 32767.0f / largest : 0.0f);
    for (int64_t k = 0; k < columns; k += 8) L::mul(round_load<L>(x + k, columns - k), inverse).store(codes + k);
}

template <class L>
void round_row(const float* x, int64_t columns, Rounded out) {
    for (int64_t k = 0; k < columns; k += kGroup)
        round_group<L>(x + k, columns - k < kGroup ? columns - k : kGroup, out.codes + k, out.scales + k / kGroup);
}

// The integer sums under way: as RowSums and TileSums in linear.inl.
template <class L, int kRows>
struct RowDots {
    using Ints = typename L::Ints;
    using Pairs = typename Ints::Pairs;
    Ints low, high;
    RowDots<L, kRows - 1> next;

    void zero() { low = high = Ints::zero(), next.zero(); }
    void step(const int16_t* x, int64_t stride, Pairs weight_low, Pairs weight_high) {
        const Pairs in = Ints::repeat(x);
        low = Ints::dot(in, weight_low, low);
        high = Ints::dot(in, weight_high, high);
        next.step(x + stride, stride, weight_low, weight_high);
    }
    // Adds what the group comes to.
    void finish(const float* scale, int64_t scale_stride, L weight_low, L weight_high, float* out, int64_t stride, bool fresh) {
        const L by = L::set(*scale);
        L first = L::mul(low.floats(), L::mul(weight_low, by)), second = L::mul(high.floats(), L::mul(weight_high, by));
        if (!fresh) first = L::add(L::load(out), first), second = L::add(L::load(out + 8), second);
        first.store(out), second.store(out + 8);
        next.finish(scale + scale_stride, scale_stride, weight_low, weight_high, out + stride, stride, fresh);
    }
};

template <class L>
struct RowDots<L, 0> {
    using Pairs = typename L::Ints::Pairs;
    void zero() {}
    void step(const int16_t*, int64_t, Pairs, Pairs) {}
    void finish(const float*, int64_t, L, L, float*, int64_t, bool) {}
};

template <class L, int kRows, int kPanels>
struct TileDots {
    using Ints = typename L::Ints;
    RowDots<L, kRows> panel;
    TileDots<L, kRows, kPanels - 1> next;

    void zero() { panel.zero(), next.zero(); }
    void step(const int16_t* x, int64_t x_stride, const int8_t* w, int64_t panel_stride) {
        L::prefetch(w + kAhead);
        panel.step(x, x_stride, Ints::widen(w), Ints::widen(w + kPanel));
        next.step(x, x_stride, w + panel_stride, panel_stride);
    }
    void finish(const float* scale, int64_t scale_stride, const float* weight, int64_t weight_stride, float* out,
                int64_t stride, bool fresh) {
        panel.finish(scale, scale_stride, L::load(weight), L::load(weight + 8), out, stride, fresh);
        next.finish(scale, scale_stride, weight + weight_stride, weight_stride, out + kPanel, stride, fresh);
    }
};

template <class L, int kRows>
struct TileDots<L, kRows, 0> {
    void zero() {}
    void step(const int16_t*, int64_t, const int8_t*, int64_t) {}
    void finish(const float*, int64_t, const float*, int64_t, float*, int64_t, bool) {}
};

// Columns [k, last) of kRows rows and kPanels panels; k is the beginning of a group.
template <class L, int kRows, int kPanels>
void rounded_tile(Rounded x, const Panels& w, int64_t panel, int64_t k, int64_t last, float* out, int64_t out_stride) {
    const int64_t stride = w.pairs() * kPairCodes, scale_stride = w.blocks() * kPanel;
    const int8_t* codes = w.codes + panel * stride;
    const float* scales = w.scales + panel * scale_stride;
    for (; k < last; k += kGroup) {
        TileDots<L, kRows, kPanels> dots;
        dots.zero();
        const int64_t end = (last - k < kGroup ? last - k + 1 : kGroup) / 2;
        const int16_t* in = x.codes + k;
        const int8_t* at = codes + k / 2 * kPairCodes;
        for (int64_t i = 0; i < end; i++) dots.step(in + 2 * i, x.stride, at + i * kPairCodes, stride);
        dots.finish(x.scales + k / kGroup, x.scale_stride, scales + k / kGroup * kPanel, scale_stride, out, out_stride, k == 0);
    }
}

template <class L>
void rounded_rows(int64_t rows, Rounded x, const Panels& w, int64_t panel, int64_t k, int64_t last, float* out, int64_t stride) {
    switch (rows) {
        case 1: return rounded_tile<L, 1, 1>(x, w, panel, k, last, out, stride);
        case 2: return rounded_tile<L, 2, 1>(x, w, panel, k, last, out, stride);
        case 3: return rounded_tile<L, 3, 1>(x, w, panel, k, last, out, stride);
        default: return rounded_tile<L, 4, 1>(x, w, panel, k, last, out, stride);
    }
}

template <class L>
void rounded_together(Rounded x, const Panels& w, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    const int64_t groups = (tokens + kMostRounded - 1) / kMostRounded;
    for (int64_t k = 0; k < w.columns; k += kRoundedBlock)
        for (int64_t p = begin; p < end; p++) {
            const int64_t last = w.columns - k < kRoundedBlock ? w.columns : k + kRoundedBlock;
            for (int64_t g = 0; g < groups; g++) {
                const int64_t first = tokens * g / groups, next = tokens * (g + 1) / groups;
                rounded_rows<L>(next - first, x.from(first), w, p, k, last, out.row(first) + p * kPanel, out.stride);
            }
        }
}

template <class L>
void rounded_many(Rounded x, const Panels& w, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    const int64_t parts = (tokens + kTogether - 1) / kTogether;
    for (int64_t p = begin; tokens <= kStreamed && p < end; p++) rounded_together<L>(x, w, out, tokens, p, p + 1);
    for (int64_t i = 0; tokens > kStreamed && i < parts; i++) {
        const int64_t first = tokens * i / parts, last = tokens * (i + 1) / parts;
        rounded_together<L>(x.from(first), w, {out.row(first), out.stride}, last - first, begin, end);
    }
}

template <class L>
void linear_rounded(Rounded x, Panels w, const Rows* residual, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    const int64_t together = tokens == 1 ? 4 : tokens == 2 ? 2 : 1;
    int64_t p = begin;
    for (; together > 1 && p + together <= end; p += together) {
        float* to = out.data + p * kPanel;
        if (tokens == 1)
            rounded_tile<L, 1, 4>(x, w, p, 0, w.columns, to, out.stride);
        else
            rounded_tile<L, 2, 2>(x, w, p, 0, w.columns, to, out.stride);
    }
    rounded_many<L>(x, w, out, tokens, p, end);
    if (w.bias || residual) linear_finish<L>(w.bias, residual, out, tokens, begin * kPanel, end * kPanel);
}

}  // namespace colonnade
