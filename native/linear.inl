// Matrix product over interleaved panels. One accumulator an output, over the columns in rising order.
#pragma once

#include "kernels.h"

namespace colonnade {

// Columns of a pass over many rows, and the rows of one: both were measured. The accumulators rest in `out` between passes,
// in float32 as in the registers, so the cut leaves no trace in the result.
constexpr int64_t kBlock = 512;
constexpr int64_t kTogether = 96;
// Up to so many rows fit the second-level cache whole: panels come one after another then, as they lie in memory.
constexpr int64_t kStreamed = 32;
constexpr int64_t kMostRows = 6;
constexpr int64_t kAhead = 2048;  // Bytes between what is used and what is fetched.

// The sums under way, one register pair a row and panel. Nested structs rather than arrays: the compiler keeps their
// members in registers, whatever the loop around them does.
template <class L, int kRows>
struct RowSums {
    L low, high;
    RowSums<L, kRows - 1> next;

    void zero() { low = high = L::zero(), next.zero(); }
    void load(const float* from, int64_t stride) {
        low = L::load(from), high = L::load(from + 8);
        next.load(from + stride, stride);
    }
    void store(float* to, int64_t stride) const {
        low.store(to), high.store(to + 8);
        next.store(to + stride, stride);
    }
    void step(const float* x, int64_t stride, L weight_low, L weight_high) {
        const L in = L::set(*x);
        low = L::fma(in, weight_low, low);
        high = L::fma(in, weight_high, high);
        next.step(x + stride, stride, weight_low, weight_high);
    }
};

template <class L>
struct RowSums<L, 0> {
    void zero() {}
    void load(const float*, int64_t) {}
    void store(float*, int64_t) const {}
    void step(const float*, int64_t, L, L) {}
};

template <class L, int kRows, int kPanels>
struct TileSums {
    RowSums<L, kRows> panel;
    TileSums<L, kRows, kPanels - 1> next;

    void zero() { panel.zero(), next.zero(); }
    void load(const float* from, int64_t stride) { panel.load(from, stride), next.load(from + kPanel, stride); }
    void store(float* to, int64_t stride) const { panel.store(to, stride), next.store(to + kPanel, stride); }
    template <class W>
    void step(const float* x, int64_t x_stride, const W* w, int64_t panel_stride) {
        L::prefetch(reinterpret_cast<const char*>(w) + kAhead);
        panel.step(x, x_stride, L::load(w), L::load(w + 8));
        next.step(x, x_stride, w + panel_stride, panel_stride);
    }
};

template <class L, int kRows>
struct TileSums<L, kRows, 0> {
    void zero() {}
    void load(const float*, int64_t) {}
    void store(float*, int64_t) const {}
    template <class W>
    void step(const float*, int64_t, const W*, int64_t) {}
};

template <class L, int kRows, int kPanels, class W>
void linear_tile(const float* x, int64_t x_stride, const W* w, int64_t panel_stride, int64_t columns, float* out,
                 int64_t out_stride, bool fresh) {
    TileSums<L, kRows, kPanels> sums;
    if (fresh)
        sums.zero();
    else
        sums.load(out, out_stride);
    for (int64_t k = 0; k < columns; k++) sums.step(x + k, x_stride, w + k * kPanel, panel_stride);
    sums.store(out, out_stride);
}

template <class L, int kPanels, class W>
void linear_rows(int64_t rows, const float* x, int64_t x_stride, const W* w, int64_t panel_stride, int64_t columns,
                 float* out, int64_t out_stride, bool fresh) {
    switch (rows) {
        case 1: return linear_tile<L, 1, kPanels>(x, x_stride, w, panel_stride, columns, out, out_stride, fresh);
        case 2: return linear_tile<L, 2, kPanels>(x, x_stride, w, panel_stride, columns, out, out_stride, fresh);
        case 3: return linear_tile<L, 3, kPanels>(x, x_stride, w, panel_stride, columns, out, out_stride, fresh);
        case 4: return linear_tile<L, 4, kPanels>(x, x_stride, w, panel_stride, columns, out, out_stride, fresh);
        case 5: return linear_tile<L, 5, kPanels>(x, x_stride, w, panel_stride, columns, out, out_stride, fresh);
        default: return linear_tile<L, 6, kPanels>(x, x_stride, w, panel_stride, columns, out, out_stride, fresh);
    }
}

template <class L>
void linear_finish(const float* bias, const Rows* residual, Rows out, int64_t tokens, int64_t first, int64_t last) {
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t n = first; n < last; n += 8) {
            L y = L::load(out.row(t) + n);
            if (bias) y = L::add(y, L::load(bias + n));
            if (residual) y = L::add(L::load(residual->row(t) + n), y);
            y.store(out.row(t) + n);
        }
}

// Few rows: several panels at once, so that enough sums are under way to hide the latency of one.
template <class L, class W>
void linear_few(Rows x, const W* w, int64_t columns, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    const int64_t stride = columns * kPanel;
    const int64_t together = tokens == 1 ? 4 : tokens == 2 ? 3 : tokens == 3 ? 2 : 1;
    int64_t p = begin;
    for (; p + together <= end; p += together) {
        const W* at = w + p * stride;
        float* to = out.data + p * kPanel;
        if (tokens == 1)
            linear_tile<L, 1, 4>(x.data, x.stride, at, stride, columns, to, out.stride, true);
        else if (tokens == 2)
            linear_tile<L, 2, 3>(x.data, x.stride, at, stride, columns, to, out.stride, true);
        else if (tokens == 3)
            linear_tile<L, 3, 2>(x.data, x.stride, at, stride, columns, to, out.stride, true);
        else
            linear_rows<L, 1>(tokens, x.data, x.stride, at, stride, columns, to, out.stride, true);
    }
    for (; p < end; p++)
        linear_rows<L, 1>(tokens, x.data, x.stride, w + p * stride, stride, columns, out.data + p * kPanel,
                          out.stride, true);
}

// A block of a panel in float32.
template <class L>
const float* linear_block(const float* w, int64_t, float*) {
    return w;
}

template <class L>
const float* linear_block(const Brief* w, int64_t columns, float* wide) {
    for (int64_t i = 0; i < columns * kPanel; i += 8) L::load(w + i).store(wide + i);
    return wide;
}

// Rows that stay in the second-level cache while all panels pass over a block of their columns. A block of a panel stays in the
// first-level cache while groups of rows of nearly equal size pass over it; what the next group adds to is asked for meanwhile.
template <class L, class W>
void linear_together(Rows x, const W* w, int64_t width, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    float wide[kBlock * kPanel];
    const int64_t stride = width * kPanel, groups = (tokens + kMostRows - 1) / kMostRows;
    for (int64_t k = 0; k < width; k += kBlock) {
        const int64_t columns = width - k < kBlock ? width - k : kBlock;
        for (int64_t p = begin; p < end; p++) {
            const float* block = linear_block<L>(w + p * stride + k * kPanel, columns, wide);
            for (int64_t g = 0; g < groups; g++) {
                const int64_t first = tokens * g / groups, last = tokens * (g + 1) / groups;
                const int64_t next = last + kMostRows < tokens ? last + kMostRows : tokens;
                for (int64_t t = last; t < next; t++) L::prefetch(out.row(t) + p * kPanel);
                linear_rows<L, 1>(last - first, x.row(first) + k, x.stride, block, kPanel, columns,
                                  out.row(first) + p * kPanel, out.stride, k == 0);
            }
        }
    }
}

template <class L, class W>
void linear_many(Rows x, const W* w, int64_t width, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    const int64_t parts = (tokens + kTogether - 1) / kTogether;
    for (int64_t p = begin; tokens <= kStreamed && p < end; p++) linear_together<L>(x, w, width, out, tokens, p, p + 1);
    for (int64_t i = 0; tokens > kStreamed && i < parts; i++) {
        const int64_t first = tokens * i / parts, last = tokens * (i + 1) / parts;
        linear_together<L>({x.row(first), x.stride}, w, width, {out.row(first), out.stride}, last - first, begin, end);
    }
}

// Columns of 8-bit floats that are widened at a time: four panels of them stay in the first-level cache.
constexpr int64_t kWidened = 64;

template <class L>
void linear_widen(const Panels& w, int64_t panel, int64_t first, int64_t columns, float* to) {
    const float* scales = w.scales + (panel * w.blocks() + first / w.block) * kPanel;
    const L low = L::load(scales), high = L::load(scales + 8);
    const uint8_t* from = w.bytes + (panel * w.columns + first) * kPanel;
    for (int64_t k = 0; k < columns; k++) {
        L::mul(L::load_e4m3(from + k * kPanel), low).store(to + k * kPanel);
        L::mul(L::load_e4m3(from + k * kPanel + 8), high).store(to + k * kPanel + 8);
    }
}

// A product with widened weights, whose order of operations is that of the same weights in float32.
template <class L>
void linear_narrow(Rows x, const Panels& w, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    float wide[4 * kWidened * kPanel];
    const int64_t most = tokens == 1 ? 4 : 1;
    const int64_t groups = (tokens + kMostRows - 1) / kMostRows;
    for (int64_t p = begin; p < end; p += most)
        for (int64_t k = 0; k < w.columns;) {
            const int64_t left = w.block - k % w.block, columns_left = w.columns - k;
            int64_t columns = left < kWidened ? left : kWidened;
            columns = columns < columns_left ? columns : columns_left;
            const int64_t panels = end - p < most ? end - p : most, stride = kWidened * kPanel;
            for (int64_t i = 0; i < panels; i++) linear_widen<L>(w, p + i, k, columns, wide + i * stride);
            float* to = out.data + p * kPanel;
            if (panels == 4)
                linear_tile<L, 1, 4>(x.data + k, x.stride, wide, stride, columns, to, out.stride, k == 0);
            else
                for (int64_t i = 0; i < panels; i++)
                    for (int64_t g = 0; g < groups; g++) {
                        const int64_t first = tokens * g / groups, last = tokens * (g + 1) / groups;
                        linear_rows<L, 1>(last - first, x.row(first) + k, x.stride, wide + i * stride, stride, columns,
                                          out.row(first) + (p + i) * kPanel, out.stride, k == 0);
                    }
            k += columns;
        }
}

template <class L, class W>
void linear_wide(Rows x, const W* w, int64_t columns, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    if (tokens <= kMostRows)
        linear_few<L>(x, w, columns, out, tokens, begin, end);
    else
        linear_many<L>(x, w, columns, out, tokens, begin, end);
}

template <class L>
void linear(Rows x, Panels w, const Rows* residual, Rows out, int64_t tokens, int64_t begin, int64_t end) {
    if (w.bytes)
        linear_narrow<L>(x, w, out, tokens, begin, end);
    else if (w.briefs)
        linear_wide<L>(x, w.briefs, w.columns, out, tokens, begin, end);
    else
        linear_wide<L>(x, w.data, w.columns, out, tokens, begin, end);
    if (w.bias || residual) linear_finish<L>(w.bias, residual, out, tokens, begin * kPanel, end * kPanel);
}

}  // namespace colonnade
