#include "program.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "rounding.h"

namespace colonnade {

Program::Program(const Kernels& kernels, int threads, Geometry geometry, Table cosines, Table sines)
    : kernels_(kernels),
      geometry_(geometry),
      group_(geometry.heads / geometry.kv_heads),
      part_heads_(std::min<int64_t>(group_, kQueryRows)),
      parts_((group_ + part_heads_ - 1) / part_heads_),
      cache_stride_(padded(geometry.head_dim, 8)),
      cosines_(std::move(cosines)),
      sines_(std::move(sines)),
      pool_(threads) {
    make_cache();
}

void Program::make_cache() {
    const int64_t size = geometry_.layers * geometry_.kv_heads * geometry_.pages * cache_stride_ / (geometry_.half ? 2 : 1);
    keys_ = Memory(size);
    values_ = Memory(geometry_.value_dim ? 0 : size);
}

void Program::forget() {
    keys_ = Memory();
    values_ = Memory();
    make_cache();
}

int Program::buffer(int64_t width) {
    buffers_.push_back({width, Memory()});
    return static_cast<int>(buffers_.size()) - 1;
}

Rows Program::rows(int buffer) const {
    const Buffer& it = buffers_[static_cast<size_t>(buffer)];
    return {it.memory.data(), padded(it.width)};
}

void Program::reserve(int64_t tokens) {
    if (tokens <= reserved_) return;
    reserved_ = std::max(tokens, 2 * reserved_);
    for (Buffer& it : buffers_) it.memory = Memory(reserved_ * padded(it.width));
}

Cache Program::cache(const Memory& memory, int64_t layer) const {
    const int64_t size = geometry_.kv_heads * geometry_.pages * cache_stride_;
    return {memory.data() + layer * size / (geometry_.half ? 2 : 1), geometry_.pages, cache_stride_, geometry_.half};
}

void Program::store(const float* from, int64_t count, const Cache& cache, int64_t head, int64_t page) const {
    if (cache.half)
        kernels_.halve(from, count, cache.at<Half>(head, page));
    else
        std::memcpy(cache.at<float>(head, page), from, sizeof(float) * static_cast<size_t>(count));
}

void Program::embed(MatrixPtr table, int out) {
    if (table->scales()) throw std::invalid_argument("a table of embeddings is float32 or bfloat16");
    vocabulary_ = std::min(vocabulary_, table->rows);
    stages_.push_back([=](const Batch& batch) {
        const Rows to = rows(out);
        each_row(batch.count, table->columns, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) table->get(batch.tokens[t], to.row(t));
        });
    });
}

void Program::rms_norm(int x, VectorPtr weight, float epsilon, int out, bool few) {
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(x), to = rows(out);
        each_row(few ? batch.sampled_count : batch.count, weight->size, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++)
                kernels_.rms_norm(from.row(t), weight->data(), epsilon, weight->size, to.row(t));
        });
    });
}

Program::Input Program::input(Rows in, int64_t count, const Matrix& matrix) {
    if (!matrix.rounded()) return {in, {}};
    const int64_t stride = padded(matrix.columns), groups = matrix.view().blocks();
    if (count * stride > codes_size_) {
        codes_size_ = std::max(count * stride, 2 * codes_size_);
        codes_ = Memory((codes_size_ + 1) / 2);
        scales_ = Memory(codes_size_);
    }
    const Rounded rounded = {reinterpret_cast<int16_t*>(codes_.data()), stride, scales_.data(), groups};
    each_row(count, matrix.columns, [&](int64_t first, int64_t last) {
        for (int64_t t = first; t < last; t++) kernels_.round(in.row(t), matrix.columns, rounded.from(t));
    });
    return {in, rounded};
}

void Program::product(const Input& in, int64_t first, int64_t count, const Matrix& matrix, const Rows* residual, Rows out,
                      int64_t begin, int64_t end) const {
    if (matrix.rounded())
        kernels_.linear_rounded(in.rounded.from(first), matrix.view(), residual, out, count, begin, end);
    else
        kernels_.linear({in.rows.row(first), in.rows.stride}, matrix.view(), residual, out, count, begin, end);
}

void Program::linear(int x, MatrixPtr matrix, int residual, int out, bool few) {
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(x), to = rows(out), add = residual < 0 ? Rows{nullptr, 0} : rows(residual);
        const int64_t tokens = few ? batch.sampled_count : batch.count, panels = matrix->panels();
        const int64_t work = tokens * matrix->columns * panels * kPanel;
        // Shares of at least four panels, which one pass over a single row takes together.
        const int64_t most = std::min((panels + 3) / 4, pool_.threads() * kItemsPerThread);
        const int64_t shares = tokens == 0 ? 0 : work < kWorthSharing ? 1 : most;
        const Input in = input(from, tokens, *matrix);
        pool_.each(shares, [&](int64_t i) {
            const int64_t quads = (panels + 3) / 4;
            const int64_t begin = quads * i / shares * 4, end = std::min(panels, quads * (i + 1) / shares * 4);
            product(in, 0, tokens, *matrix, residual < 0 ? nullptr : &add, to, begin, end);
        });
    });
}

void Program::rope_store(int qkv, int64_t layer, int out) {
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(qkv), to = rows(out);
        const int64_t dim = geometry_.head_dim, queries = geometry_.heads * dim, keys = geometry_.kv_heads * dim;
        const Cache key_cache = cache(keys_, layer), value_cache = cache(values_, layer);
        each_row(batch.count, queries + 2 * keys, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) {
                const int64_t position = batch.positions[t];
                const int64_t page = batch.pages[batch.slots[t] * batch.page_stride + position];
                const float *cosines = cosines_.get() + position * (dim / 2), *sines = sines_.get() + position * (dim / 2);
                const float* row = from.row(t);
                kernels_.rope(row, cosines, sines, geometry_.heads, dim, to.row(t), dim);
                float key[kMostHeadDim];
                for (int64_t h = 0; h < geometry_.kv_heads; h++) {
                    kernels_.rope(row + queries + h * dim, cosines, sines, 1, dim, key, dim);
                    store(key, dim, key_cache, h, page);
                    store(row + queries + keys + h * dim, dim, value_cache, h, page);
                }
            }
        });
    });
}

void Program::norm_heads(const float* from, int64_t heads, const Vector& weight, float epsilon, float* to) const {
    const int64_t dim = geometry_.head_dim;
    float in[kMostHeadDim] = {}, out[kMostHeadDim];
    for (int64_t h = 0; h < heads; h++) {
        std::memcpy(in, from + h * dim, sizeof(float) * static_cast<size_t>(dim));
        kernels_.rms_norm(in, weight.data(), epsilon, dim, out);
        std::memcpy(to + h * dim, out, sizeof(float) * static_cast<size_t>(dim));
    }
}

void Program::head_norm(int qkv, VectorPtr queries, VectorPtr keys, float epsilon, int out) {
    const int64_t heads = geometry_.heads, kv_heads = geometry_.kv_heads, dim = geometry_.head_dim;
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(qkv), to = rows(out);
        each_row(batch.count, (heads + 2 * kv_heads) * dim, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) {
                const float* row = from.row(t);
                norm_heads(row, heads, *queries, epsilon, to.row(t));
                norm_heads(row + heads * dim, kv_heads, *keys, epsilon, to.row(t) + heads * dim);
                const int64_t values = (heads + kv_heads) * dim;
                std::memcpy(to.row(t) + values, row + values, sizeof(float) * static_cast<size_t>(kv_heads * dim));
            }
        });
    });
}

void Program::attend(int q, int64_t layer, int64_t window, int out) {
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(q), to = rows(out);
        const int64_t items = static_cast<int64_t>(runs_.size()) * geometry_.kv_heads * parts_;
        int64_t work = 0;
        for (const Run& run : runs_) {
            const int64_t keys = batch.positions[run.first] + 1;
            work += run.count * (window ? std::min(window, keys) : keys) * geometry_.heads * geometry_.head_dim * 2;
        }
        if (work < kWorthSharing)
            for (int64_t i = 0; i < items; i++) attend_item(batch, from, to, layer, window, i);
        else
            pool_.each(items, [&](int64_t i) { attend_item(batch, from, to, layer, window, i); });
    });
}

void Program::attend_item(const Batch& batch, Rows q, Rows out, int64_t layer, int64_t window, int64_t item) const {
    const int64_t heads = geometry_.kv_heads * parts_;
    // The last runs of a prompt see the most keys: they come first.
    const Run run = runs_[runs_.size() - 1 - static_cast<size_t>(item / heads)];
    const int64_t kv_head = item % heads / parts_, part = item % parts_;
    AttendTask task;
    task.queries = {q.row(run.first), q.stride};
    task.out = {out.row(run.first), out.stride};
    task.tokens = run.count;
    task.first_position = batch.positions[run.first];
    task.pages = batch.pages + batch.slots[run.first] * batch.page_stride;
    task.keys = cache(keys_, layer);
    task.values = geometry_.value_dim ? task.keys : cache(values_, layer);
    task.kv_head = kv_head;
    task.first_head = kv_head * group_ + part * part_heads_;
    task.heads = std::min(part_heads_, group_ - part * part_heads_);
    task.head_dim = geometry_.head_dim;
    task.value_dim = geometry_.value_width();
    task.window = window;
    task.scale = geometry_.scale;
    kernels_.attend(task);
}

void Program::rounded(int x, int out, bool few) {
    const int64_t width = buffers_[static_cast<size_t>(out)].width;
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(x), to = rows(out);
        each_row(few ? batch.sampled_count : batch.count, width * 4, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) round_groups(from.row(t), width, to.row(t));
        });
    });
}

void Program::swiglu(int gate_up, int out, bool few) {
    const int64_t width = buffers_[static_cast<size_t>(out)].width;
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(gate_up), to = rows(out);
        each_row(few ? batch.sampled_count : batch.count, width * 4, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; t++) kernels_.swiglu(from.row(t), from.row(t) + width, width, to.row(t));
        });
    });
}

void Program::sampled(int x, int out) {
    stages_.push_back([=](const Batch& batch) {
        const Rows from = rows(x), to = rows(out);
        for (int64_t s = 0; s < batch.sampled_count; s++)
            std::memcpy(to.row(s), from.row(batch.sampled[s]), sizeof(float) * static_cast<size_t>(to.stride));
    });
}

void Program::result(int x) { result_ = x; }

void Program::cut_runs(const Batch& batch) {
    const int64_t most = kQueryRows / part_heads_;
    runs_.clear();
    for (int64_t t = 0; t < batch.count; t++) {
        const bool goes_on = t > 0 && batch.slots[t] == batch.slots[t - 1] && runs_.back().count < most;
        if (goes_on)
            runs_.back().count++;
        else
            runs_.push_back({t, 1});
    }
}

bool Program::accepts(const Batch& batch, int64_t slots) const {
    const auto within = [](int64_t value, int64_t limit) { return value >= 0 && value < limit; };
    for (int64_t t = 0; t < batch.count; t++) {
        const int64_t slot = batch.slots[t], position = batch.positions[t];
        if (!within(batch.tokens[t], vocabulary_) || !within(slot, slots)) return false;
        if (!within(position, std::min(geometry_.positions, batch.page_stride))) return false;
        if (!within(batch.pages[slot * batch.page_stride + position], geometry_.pages)) return false;
    }
    for (int64_t s = 0; s < batch.sampled_count; s++)
        if (!within(batch.sampled[s], batch.count)) return false;
    return true;
}

void Program::run(const Batch& batch, float* out) {
    reserve(std::max(batch.count, batch.sampled_count));
    cut_runs(batch);
    for (const Stage& stage : stages_) stage(batch);
    const Rows from = rows(result_);
    const int64_t width = result_width();
    for (int64_t s = 0; s < batch.sampled_count; s++)
        std::memcpy(out + s * width, from.row(s), sizeof(float) * static_cast<size_t>(width));
}

}  // namespace colonnade
