// Stages of a mixture of experts. Tokens are grouped by expert, so that a weight is read once for all that chose it; each
// token's sum runs over its experts by rising number, so that its company leaves no trace.
#include <algorithm>
#include <cstring>

#include "program.h"
#include "rounding.h"

namespace colonnade {

void Program::route(int logits, VectorPtr bias, Routing routing, int out, bool few) {
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(logits), to = rows(out);
        each_row(few ? batch.sampled_count : batch.count, routing.experts * 16, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) colonnade::route(from.row(t), bias->data(), routing, to.row(t));
        });
    });
}

Rows Program::Mixture::rows(int part, int64_t count, int64_t width) {
    const int64_t stride = padded(width), wanted = count * stride;
    if (wanted > sizes[part]) {
        sizes[part] = std::max(wanted, 2 * sizes[part]);
        parts[part] = Memory(sizes[part]);
    }
    return {parts[part].data(), stride};
}

// Gives each pair of token and expert a row, the rows of an expert next to each other.
void Program::Mixture::group(Rows routes, int64_t tokens, int64_t chosen, int64_t experts) {
    begins.assign(static_cast<size_t>(experts) + 1, 0);
    places.resize(static_cast<size_t>(tokens * chosen));
    const auto expert = [&](int64_t pair) { return static_cast<size_t>(routes.row(pair / chosen)[pair % chosen]); };
    for (int64_t pair = 0; pair < tokens * chosen; pair++) begins[expert(pair) + 1]++;
    active.clear();
    for (size_t e = 0; e < static_cast<size_t>(experts); e++) {
        if (begins[e + 1] > 0) active.push_back(static_cast<int64_t>(e));
        begins[e + 1] += begins[e];
    }
    std::vector<int64_t> next(begins.begin(), begins.end() - 1);
    for (int64_t pair = 0; pair < tokens * chosen; pair++) places[static_cast<size_t>(pair)] = next[expert(pair)]++;
}

// out = in · matrixᵀ, by each row's expert.
void Program::multiply(const std::vector<MatrixPtr>& matrices, Rows in, Rows out, int64_t pairs) {
    const Mixture& mix = mixture_;
    const int64_t quads = (matrices[0]->panels() + 3) / 4, active = static_cast<int64_t>(mix.active.size());
    const bool worth = pairs * matrices[0]->columns * matrices[0]->rows >= kWorthSharing;
    const int64_t wanted = (pool_.threads() * kItemsPerThread + active - 1) / active;
    const int64_t shares = worth ? std::min(quads, wanted) : 1;
    const Input input = this->input(in, pairs, *matrices[0]);
    const auto work = [&](int64_t item) {
        const int64_t expert = mix.active[static_cast<size_t>(item / shares)], share = item % shares;
        const int64_t first = mix.begins[static_cast<size_t>(expert)], last = mix.begins[static_cast<size_t>(expert) + 1];
        const Matrix& matrix = *matrices[static_cast<size_t>(expert)];
        const int64_t begin = quads * share / shares * 4, end = std::min(matrix.panels(), quads * (share + 1) / shares * 4);
        product(input, first, last - first, matrix, nullptr, {out.row(first), out.stride}, begin, end);
    };
    if (worth)
        pool_.each(active * shares, work);
    else
        for (int64_t i = 0; i < active; i++) work(i);
}

void Program::experts(int x, int routes, std::vector<MatrixPtr> gate_ups, std::vector<MatrixPtr> downs, int residual,
                      int out, bool few) {
    const int64_t chosen = buffers_[static_cast<size_t>(routes)].width / 2;
    const int64_t width = downs[0]->rows, inner = downs[0]->columns, count = static_cast<int64_t>(downs.size());
    stages_.push_back([=](const Batch& batch) {
        const int64_t tokens = few ? batch.sampled_count : batch.count, pairs = tokens * chosen;
        if (tokens == 0) return;
        const Rows from = rows(x), picked = rows(routes), add = rows(residual), to = rows(out);
        Mixture& mix = mixture_;
        mix.group(picked, tokens, chosen, count);
        const Rows in = mix.rows(0, pairs, width), both = mix.rows(1, pairs, 2 * inner);
        const Rows gated = mix.rows(2, pairs, inner), done = mix.rows(3, pairs, width);
        const auto place = [&](int64_t t, int64_t j) { return mix.places[static_cast<size_t>(t * chosen + j)]; };
        each_row(tokens, chosen * width, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++)
                for (int64_t j = 0; j < chosen; j++)
                    std::memcpy(in.row(place(t, j)), from.row(t), sizeof(float) * static_cast<size_t>(width));
        });
        const auto round = [&](Rows it, int64_t columns) {
            each_row(pairs, columns * 4, [&](int64_t first, int64_t last) {
                for (int64_t r = first; r < last; r++) round_groups(it.row(r), columns, it.row(r));
            });
        };
        if (gate_ups[0]->rounds_input) round(in, width);
        multiply(gate_ups, in, both, pairs);
        each_row(pairs, inner * 4, [&](int64_t first, int64_t last) {
            for (int64_t r = first; r < last; r++) kernels_.swiglu(both.row(r), both.row(r) + inner, inner, gated.row(r));
        });
        if (downs[0]->rounds_input) round(gated, inner);
        multiply(downs, gated, done, pairs);
        each_row(tokens, chosen * width, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) {
                float* sum = to.row(t);
                std::fill(sum, sum + width, 0.0f);
                for (int64_t j = 0; j < chosen; j++) {
                    const float weight = picked.row(t)[chosen + j];
                    const float* part = done.row(place(t, j));
                    for (int64_t i = 0; i < width; i++) sum[i] += weight * part[i];
                }
                for (int64_t i = 0; i < width; i++) sum[i] += add.row(t)[i];
            }
        });
    });
}

}  // namespace colonnade
