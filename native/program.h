// A forward pass as a tape of stages, recorded once and replayed each step.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "kernels.h"
#include "matrix.h"
#include "pool.h"
#include "route.h"

namespace colonnade {

// Work below this many multiplications (about 10 microseconds of one core) is not worth waking another thread for.
constexpr int64_t kWorthSharing = 1 << 19;
// Items a thread should get, so that one that is held up leaves its share to the others.
constexpr int64_t kItemsPerThread = 4;

struct Geometry {
    int64_t layers;
    int64_t heads;
    int64_t kv_heads;
    int64_t head_dim;
    int64_t pages;
    int64_t positions;  // Rows of the tables of angles.
    int64_t turned;     // Dimensions of a head that are turned by its position.
    int64_t value_dim;  // 0: values have a cache of their own, head_dim wide; else a value is the head of its key.
    float scale;        // Of attention's scores.
    bool half;          // Keys and values are kept in float16.

    int64_t value_width() const { return value_dim ? value_dim : head_dim; }
};

// One step's tokens, grouped by slot, positions rising by one within a slot.
struct Batch {
    const int32_t* tokens;
    const int32_t* slots;
    const int32_t* positions;
    int64_t count;
    const int32_t* pages;  // [slots, page_stride]
    int64_t page_stride;
    const int32_t* sampled;
    int64_t sampled_count;
};

// Numbers that stay where they are, with whoever made them: processes that were forked share the memory.
using Table = std::shared_ptr<const float>;

class Program {
public:
    Program(const Kernels& kernels, int threads, Geometry geometry, Table cosines, Table sines);

    // Declares a buffer of `width` floats a row. Stages name buffers by the numbers given here. A buffer has one width for
    // good, so that the padding of its rows stays zero.
    int buffer(int64_t width);

    // Recording. `few`: the buffers hold the sampled rows only.
    void embed(MatrixPtr table, int out);
    void rms_norm(int x, VectorPtr weight, float epsilon, int out, bool few);
    void linear(int x, MatrixPtr matrix, int residual, int out, bool few);
    void rope_store(int qkv, int64_t layer, int out);
    // `window`: keys that a token sees at most, itself among them; 0 for all.
    void attend(int q, int64_t layer, int64_t window, int out);
    // Normalises each head of queries and keys by itself.
    void head_norm(int qkv, VectorPtr queries, VectorPtr keys, float epsilon, int out);
    // Activations rounded by groups; see rounding.h.
    void rounded(int x, int out, bool few);
    void swiglu(int gate_up, int out, bool few);
    void sampled(int x, int out);
    // The buffer's columns from `first` on, as many as `out` has.
    void columns(int x, int64_t first, int out, bool few);
    // The experts of each token and their weights, and the sum of what they make of it; see route.h and mixture.cpp.
    void route(int logits, VectorPtr bias, Routing routing, int out, bool few);
    void experts(int x, int routes, std::vector<MatrixPtr> gate_ups, std::vector<MatrixPtr> downs, int residual, int out,
                 bool few);
    // Each head times a matrix of its own, which takes the head's first columns.
    void per_head(int x, std::vector<MatrixPtr> matrices, int out, bool few);
    // Queries in the space of the latent, with the turned ends of the heads of `q`; stores the latent and the turned end
    // of `key` as the token's row.
    void latent_store(int absorbed, int q, int latent, int key, int64_t layer, int out);
    void result(int x);

    int64_t result_width() const { return buffers_[static_cast<size_t>(result_)].width; }
    int threads() const { return pool_.threads(); }

    // Whether every token, slot, position, new page and row of a batch is within its range.
    bool accepts(const Batch& batch, int64_t slots) const;

    // Gives the memory of all keys and values back to the system; they are zeros again.
    void forget();

    // Writes [sampled_count, result_width] to `out`. Not for two threads at once.
    void run(const Batch& batch, float* out);

private:
    struct Buffer {
        int64_t width;
        Memory memory;
    };
    // Tokens of one slot that attend together.
    struct Run {
        int64_t first;
        int64_t count;
    };
    // Pairs of token and expert, grouped by expert, and the memory in which they are computed.
    struct Mixture {
        Memory parts[4];
        int64_t sizes[4] = {};
        std::vector<int64_t> begins;  // Of each expert's rows.
        std::vector<int64_t> places;  // The row of each pair.
        std::vector<int64_t> active;  // Experts that have rows.

        Rows rows(int part, int64_t count, int64_t width);
        void group(Rows routes, int64_t tokens, int64_t chosen, int64_t experts);
    };
    // What is multiplied with a matrix: the rows, and for 8-bit integers the rows rounded.
    struct Input {
        Rows rows;
        Rounded rounded;
    };
    using Stage = std::function<void(const Batch&)>;

    Rows rows(int buffer) const;
    void reserve(int64_t tokens);
    void cut_runs(const Batch& batch);
    void make_cache();
    Cache cache(const Memory& memory, int64_t layer) const;
    void store(const float* from, int64_t count, const Cache& cache, int64_t head, int64_t page) const;
    void attend_item(const Batch& batch, Rows q, Rows out, int64_t layer, int64_t window, int64_t item) const;
    void norm_heads(const float* from, int64_t heads, const Vector& weight, float epsilon, float* to) const;
    Input input(Rows in, int64_t count, const Matrix& matrix);
    // out = in · matrixᵀ for rows [first, first + count) and panels [begin, end).
    void product(const Input& in, int64_t first, int64_t count, const Matrix& matrix, const Rows* residual, Rows out,
                 int64_t begin, int64_t end) const;
    void multiply(const std::vector<MatrixPtr>& matrices, Rows in, Rows out, int64_t pairs);
    // Calls work(first, last) over ranges of rows.
    template <class Work>
    void each_row(int64_t rows, int64_t width, const Work& work) {
        const int64_t shares = rows * width * 8 < kWorthSharing ? 1 : std::min(rows, pool_.threads() * kItemsPerThread);
        pool_.each(shares, [&](int64_t i) { work(rows * i / shares, rows * (i + 1) / shares); });
    }

    const Kernels& kernels_;
    const Geometry geometry_;
    int64_t vocabulary_ = INT32_MAX;  // Rows of the smallest table that tokens are looked up in.
    const int64_t group_;       // Query heads of a kv head
    const int64_t part_heads_;  // of which so many attend together,
    const int64_t parts_;       // in so many parts.
    const int64_t cache_stride_;
    Table cosines_;
    Table sines_;
    Memory keys_;
    Memory values_;
    std::vector<Buffer> buffers_;
    std::vector<Stage> stages_;
    std::vector<Run> runs_;
    Mixture mixture_;
    Memory codes_;   // Of an input that was rounded,
    Memory scales_;  // and its scales.
    int64_t codes_size_ = 0;
    int64_t reserved_ = 0;
    int result_ = -1;
    Pool pool_;
};

}  // namespace colonnade
