// Causal attention over pages of one token, prefill and decode alike.
//
// A query row walks over tiles of 64 keys that begin at absolute positions and keeps the running maximum, sum and weighted
// values (online softmax: Milakov and Gimelshein, arXiv 1805.02867). Rows that share a kv head and a slot walk together,
// which saves reads and changes no row's order of operations.
#pragma once

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "rows.inl"

namespace colonnade {

struct QueryRows {
    float queries[kQueryRows * kMostHeadDim];  // Scaled, zero-padded to whole registers.
    float sums[kQueryRows * kMostHeadDim];
    float scores[kQueryRows][kTile];
    float peak[kQueryRows];
    float weight[kQueryRows];
    int64_t position[kQueryRows];
    int64_t count;
    int64_t lanes;        // Registers a key takes,
    int64_t value_lanes;  // and a value.
    int64_t window;
    float* query(int64_t r) { return queries + r * lanes * 8; }
    float* sum(int64_t r) { return sums + r * value_lanes * 8; }
};

template <class L>
void attend_load(const AttendTask& task, QueryRows& rows) {
    rows.count = task.tokens * task.heads;
    rows.lanes = (task.head_dim + 7) / 8;
    rows.value_lanes = (task.value_dim + 7) / 8;
    rows.window = task.window;
    for (int64_t r = 0; r < rows.count; r++) {
        const int64_t head = task.first_head + r % task.heads;
        const float* from = task.queries.row(r / task.heads) + head * task.head_dim;
        for (int64_t i = 0; i < rows.lanes * 8; i++) rows.query(r)[i] = i < task.head_dim ? from[i] * task.scale : 0.0f;
        for (int64_t i = 0; i < rows.value_lanes * 8; i++) rows.sum(r)[i] = 0.0f;
        rows.peak[r] = -INFINITY;
        rows.weight[r] = 0.0f;
        rows.position[r] = task.first_position + r / task.heads;
    }
}

template <class L, class Number>
void attend_fetch(const Number* row, int64_t lanes) {
    for (int64_t c = 0; c < lanes * 8; c += 64 / static_cast<int64_t>(sizeof(Number))) L::prefetch(row + c);
}

// Asks for the values of eight keys, which the tile needs soon, and for the eight keys after them: pages lie anywhere.
template <class L, class Number>
void attend_ahead(const AttendTask& task, const QueryRows& rows, int64_t key) {
    const int64_t last = rows.position[rows.count - 1];
    for (int64_t i = key; i < key + 8; i++) {
        if (i <= last) attend_fetch<L>(task.values.at<Number>(task.kv_head, task.pages[i]), rows.value_lanes);
        if (i + 8 <= last) attend_fetch<L>(task.keys.at<Number>(task.kv_head, task.pages[i + 8]), rows.lanes);
    }
}

// Scores of the keys from begin + from (or a few before) up to begin + used, for all rows; what lies behind is never read.
template <class L, class Number>
void attend_scores(const AttendTask& task, QueryRows& rows, int64_t begin, int64_t from, int64_t used) {
    for (int64_t j = from / 8 * 8; j < used; j += 8) {
        attend_ahead<L, Number>(task, rows, begin + j);
        const Number* keys[8];
        for (int64_t i = 0; i < 8; i++) {
            const int64_t key = j + i < used ? j + i : used - 1;
            keys[i] = task.keys.at<Number>(task.kv_head, task.pages[begin + key]);
        }
        for (int64_t r = 0; r < rows.count; r++) {
            L dot[8];
            for (int i = 0; i < 8; i++) dot[i] = L::zero();
            const float* queries = rows.query(r);
            const int64_t width = rows.lanes * 8;
            for (int64_t c = 0; c < width; c += 8) {
                L query = L::load(queries + c);
                for (int i = 0; i < 8; i++) dot[i] = L::fma(query, L::load(keys[i] + c), dot[i]);
            }
            L::sums(dot).store(rows.scores[r] + j);
        }
    }
}

// Turns scores into weights relative to the new peak and rescales what was summed so far.
template <class L>
void attend_weights(QueryRows& rows, int64_t r, int64_t hidden, int64_t visible) {
    float* scores = rows.scores[r];
    for (int64_t j = 0; j < hidden; j++) scores[j] = -INFINITY;
    for (int64_t j = visible; j < kTile; j++) scores[j] = -INFINITY;
    L top = L::load(scores);
    for (int j = 8; j < kTile; j += 8) top = L::max(top, L::load(scores + j));
    const float tile_peak = top.largest();
    const float peak = rows.peak[r] > tile_peak ? rows.peak[r] : tile_peak;
    L total = L::zero();
    for (int j = 0; j < kTile; j += 8) {
        L share = exponential(L::sub(L::load(scores + j), L::set(peak)));
        share.store(scores + j);
        total = L::add(total, share);
    }
    float fade[8];
    exponential(L::set(rows.peak[r] - peak)).store(fade);
    rows.weight[r] = rows.weight[r] * fade[0] + total.sum();
    rows.peak[r] = peak;
    float* sum = rows.sum(r);
    const int64_t width = rows.value_lanes * 8;
    for (int64_t c = 0; c < width; c += 8) L::mul(L::load(sum + c), L::set(fade[0])).store(sum + c);
}

// Adds weighted values of keys [from, to) to kRows rows, for kLanes registers from column c.
template <class L, int kRows, int kLanes, class Number>
void attend_values(QueryRows& rows, int64_t r, const Number* const* values, int64_t c, int64_t from, int64_t to) {
    L sum[kRows][kLanes];
    float* sums = rows.sum(r) + c;
    const int64_t stride = rows.value_lanes * 8;
    const float* scores = rows.scores[r];
    for (int i = 0; i < kRows; i++)
        for (int l = 0; l < kLanes; l++) sum[i][l] = L::load(sums + i * stride + l * 8);
    for (int64_t j = from; j < to; j++) {
        L share[kRows];
        for (int i = 0; i < kRows; i++) share[i] = L::set(scores[i * kTile + j]);
        for (int l = 0; l < kLanes; l++) {
            L value = L::load(values[j] + c + l * 8);
            for (int i = 0; i < kRows; i++) sum[i][l] = L::fma(share[i], value, sum[i][l]);
        }
    }
    for (int i = 0; i < kRows; i++)
        for (int l = 0; l < kLanes; l++) sum[i][l].store(sums + i * stride + l * 8);
}

template <class L, int kRows, class Number>
void attend_columns(QueryRows& rows, int64_t r, const Number* const* values, int64_t from, int64_t to) {
    int64_t lane = 0;
    for (; lane + 4 <= rows.value_lanes; lane += 4) attend_values<L, kRows, 4>(rows, r, values, lane * 8, from, to);
    for (; lane < rows.value_lanes; lane++) attend_values<L, kRows, 1>(rows, r, values, lane * 8, from, to);
}

static inline int64_t attend_within(int64_t key, int64_t begin) {
    const int64_t at = key - begin;
    return at < 0 ? 0 : at < kTile ? at : kTile;
}

// A row sees the keys [hidden, visible) of the tile that begins at `begin`.
static inline int64_t attend_visible(const QueryRows& rows, int64_t r, int64_t begin) {
    return attend_within(rows.position[r] + 1, begin);
}

static inline int64_t attend_first(const QueryRows& rows, int64_t r) {
    const int64_t first = rows.position[r] + 1 - rows.window;
    return rows.window == 0 || first < 0 ? 0 : first;
}

static inline int64_t attend_hidden(const QueryRows& rows, int64_t r, int64_t begin) {
    return attend_within(attend_first(rows, r), begin);
}

// Each row takes its keys in rising order, whether its neighbour sees them too or not.
template <class L, class Number>
void attend_pair(QueryRows& rows, int64_t r, const Number* const* values, int64_t begin) {
    const int64_t first = attend_hidden(rows, r, begin), last = attend_visible(rows, r, begin);
    const int64_t next_first = attend_hidden(rows, r + 1, begin), next_last = attend_visible(rows, r + 1, begin);
    const int64_t from = next_first < last ? next_first : last;
    if (first < from) attend_columns<L, 1>(rows, r, values, first, from);
    if (from < last) attend_columns<L, 2>(rows, r, values, from, last);
    if (last < next_last) attend_columns<L, 1>(rows, r + 1, values, last > next_first ? last : next_first, next_last);
}

template <class L, class Number>
void attend_tile(const AttendTask& task, QueryRows& rows, int64_t begin) {
    const int64_t from = attend_hidden(rows, 0, begin), used = attend_visible(rows, rows.count - 1, begin);
    attend_scores<L, Number>(task, rows, begin, from, used);
    const Number* values[kTile];
    for (int64_t j = from; j < used; j++) values[j] = task.values.at<Number>(task.kv_head, task.pages[begin + j]);
    for (int64_t r = 0; r < rows.count; r++) {
        const int64_t hidden = attend_hidden(rows, r, begin), visible = attend_visible(rows, r, begin);
        if (hidden < visible) attend_weights<L>(rows, r, hidden, visible);
    }
    int64_t r = 0;
    for (; r + 2 <= rows.count; r += 2) attend_pair<L>(rows, r, values, begin);
    if (r < rows.count)
        attend_columns<L, 1>(rows, r, values, attend_hidden(rows, r, begin), attend_visible(rows, r, begin));
}

template <class L>
void attend(const AttendTask& task) {
    QueryRows rows;
    attend_load<L>(task, rows);
    const int64_t last = rows.position[rows.count - 1];
    for (int64_t begin = attend_first(rows, 0) / kTile * kTile; begin <= last; begin += kTile)
        task.keys.half ? attend_tile<L, Half>(task, rows, begin) : attend_tile<L, float>(task, rows, begin);
    for (int64_t r = 0; r < rows.count; r++) {
        const int64_t head = task.first_head + r % task.heads;
        float* to = task.out.row(r / task.heads) + head * task.value_dim;
        for (int64_t c = 0; c < rows.value_lanes * 8; c += 8)
            L::div(L::load(rows.sum(r) + c), L::set(rows.weight[r])).store(rows.sum(r) + c);
        memcpy(to, rows.sum(r), sizeof(float) * static_cast<size_t>(task.value_dim));
    }
}

}  // namespace colonnade
