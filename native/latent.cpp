// Stages of multi-head latent attention in its absorbed form (DeepSeek-V2, arXiv 2405.04434, section 2.1): every head
// asks in the space of the latent, so that the cache holds one row a token, the latent and one turned key.
#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "program.h"

namespace colonnade {

namespace {

constexpr int64_t kTokensTogether = 32;

void copy(const float* from, int64_t count, float* to) {
    std::memcpy(to, from, sizeof(float) * static_cast<size_t>(count));
}

// Neighbours are the two coordinates of a pair.
void turn(const float* x, const float* cosines, const float* sines, int64_t dim, float* out) {
    for (int64_t i = 0; i < dim / 2; i++) {
        const float a = x[2 * i], b = x[2 * i + 1];
        out[2 * i] = a * cosines[i] - b * sines[i];
        out[2 * i + 1] = b * cosines[i] + a * sines[i];
    }
}

}  // namespace

void Program::columns(int x, int64_t first_column, int out, bool few) {
    const int64_t width = buffers_[static_cast<size_t>(out)].width;
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(x), to = rows(out);
        each_row(few ? batch.sampled_count : batch.count, width, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) copy(from.row(t) + first_column, width, to.row(t));
        });
    });
}

void Program::per_head(int x, std::vector<MatrixPtr> matrices, int out, bool few) {
    const int64_t heads = static_cast<int64_t>(matrices.size()), width = matrices[0]->rows;
    if (matrices[0]->rounded()) throw std::invalid_argument("a head's matrix is not 8-bit integers");
    const int64_t in_width = buffers_[static_cast<size_t>(x)].width / heads;
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(x), to = rows(out);
        const int64_t tokens = few ? batch.sampled_count : batch.count;
        const int64_t blocks = (tokens + kTokensTogether - 1) / kTokensTogether;
        const auto work = [&](int64_t item) {
            // A head's outputs end where its panels may not: they are computed aside.
            static thread_local std::vector<float> scratch;
            const int64_t head = item % heads, first = item / heads * kTokensTogether;
            const int64_t count = std::min(kTokensTogether, tokens - first);
            const Matrix& matrix = *matrices[static_cast<size_t>(head)];
            scratch.resize(static_cast<size_t>(kTokensTogether * padded(width)));
            const Rows aside = {scratch.data(), padded(width)};
            kernels_.linear({from.row(first) + head * in_width, from.stride}, matrix.view(), nullptr, aside, count, 0,
                            matrix.panels());
            for (int64_t t = 0; t < count; t++) copy(aside.row(t), width, to.row(first + t) + head * width);
        };
        if (tokens * heads * width * matrices[0]->columns < kWorthSharing)
            for (int64_t i = 0; i < heads * blocks; i++) work(i);
        else
            pool_.each(heads * blocks, work);
    });
}

void Program::latent_store(int absorbed, int q, int latent, int key, int64_t layer, int out) {
    const int64_t heads = geometry_.heads, turned = geometry_.turned, wide = geometry_.value_dim, dim = geometry_.head_dim;
    const int64_t q_width = buffers_[static_cast<size_t>(q)].width / heads;
    const int64_t key_at = buffers_[static_cast<size_t>(key)].width - turned;
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(absorbed), asked = rows(q), latents = rows(latent), keys = rows(key), to = rows(out);
        const Cache stored = cache(keys_, layer);
        each_row(batch.count, heads * dim, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) {
                const int64_t position = batch.positions[t];
                const float *cosines = cosines_.get() + position * (turned / 2), *sines = sines_.get() + position * (turned / 2);
                for (int64_t h = 0; h < heads; h++) {
                    copy(from.row(t) + h * wide, wide, to.row(t) + h * dim);
                    turn(asked.row(t) + (h + 1) * q_width - turned, cosines, sines, turned, to.row(t) + h * dim + wide);
                }
                float row[kMostHeadDim];
                copy(latents.row(t), wide, row);
                turn(keys.row(t) + key_at, cosines, sines, turned, row + wide);
                store(row, dim, stored, 0, batch.pages[batch.slots[t] * batch.page_stride + position]);
            }
        });
    });
}

}  // namespace colonnade
