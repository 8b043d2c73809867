// The stages of a forward pass over row-major float32 buffers, as a table of functions: one table an instruction set.
//
// Every kernel computes each output by one fixed order of operations that depends on nothing but the output's own inputs:
// not on how many rows come with it, nor on how the work is cut. So a token's result has the same bits in any batch,
// chunk and thread count.
#pragma once

#include <cstdint>

namespace colonnade {

constexpr int kPanel = 16;     // Rows of a weight that lie interleaved.
constexpr int kTile = 64;      // Keys of an attention tile; tiles begin at multiples of it.
constexpr int kMostHeadDim = 640;
constexpr int kGroup = 128;    // Columns of an 8-bit integer weight, or of what it is multiplied with, that share a scale.
constexpr int kQueryRows = 32;  // Most query rows (tokens x heads of a group) that share one pass over the keys.

// Rows of a buffer lie `stride` floats apart; columns from the width up to the stride are zero, and stay so.
struct Rows {
    float* data;
    int64_t stride;
    float* row(int64_t i) const { return data + i * stride; }
};

// The bits of a bfloat16 and of a float16: every one of them is a float32.
struct Brief {
    uint16_t bits;
};
struct Half {
    uint16_t bits;
};

// Activations rounded to 16-bit integers, with a scale for each `kGroup` columns of a row. Codes lie `stride` apart from
// row to row and are zero from the width up to it; scales lie `scale_stride` apart.
struct Rounded {
    int16_t* codes;
    int64_t stride;
    float* scales;
    int64_t scale_stride;
    Rounded from(int64_t row) const { return {codes + row * stride, stride, scales + row * scale_stride, scale_stride}; }
};

// A weight [rows, columns], zero-padded to whole panels: panel p holds rows 16 p to 16 p + 15, column by column. It is
// either float32, or bfloat16, or 8-bit floats (E4M3) with scales [panel][block of columns][row of the panel], or 8-bit
// integers, two columns of a row next to each other, with scales [panel][group of columns][row of the panel].
struct Panels {
    const float* data;  // Null for all but float32.
    const float* bias;  // Padded like the rows; null for none.
    int64_t columns;
    const uint8_t* bytes;
    const float* scales;
    int64_t block;  // Columns that share a scale.
    const Brief* briefs = nullptr;
    const int8_t* codes = nullptr;
    int64_t blocks() const { return (columns + block - 1) / block; }
    int64_t pairs() const { return (columns + 1) / 2; }
};

// The keys or values of one layer: [kv head][page][dimension], the dimension padded to a multiple of 8; of float32 or Half.
struct Cache {
    void* data;
    int64_t pages;
    int64_t stride;
    bool half;
    template <class Number>
    Number* at(int64_t head, int64_t page) const {
        return static_cast<Number*>(data) + (head * pages + page) * stride;
    }
};

// Consecutive tokens of one slot, for query heads that share one kv head; tokens x heads is at most kQueryRows.
struct AttendTask {
    Rows queries;  // The first token's row.
    Rows out;
    int64_t tokens;
    int64_t first_position;
    const int32_t* pages;  // Of the slot, by position.
    Cache keys;
    Cache values;
    int64_t kv_head;
    int64_t first_head;
    int64_t heads;
    int64_t head_dim;
    int64_t value_dim;  // Of a value, and of a head of `out`.
    int64_t window;     // Keys that a token sees at most, itself among them; 0 for all.
    float scale;        // Of the scores.
};

struct Kernels {
    const char* name;
    // out[t, n] = sum over k of x[t, k] w[n, k], then + bias[n], then + residual[t, n], for the panels [begin, end).
    void (*linear)(Rows x, Panels w, const Rows* residual, Rows out, int64_t tokens, int64_t begin, int64_t end);
    // The same for 8-bit integers and rounded activations. Sums within a group are exact, so that every instruction set
    // and every order gives the same bits; the groups are added up in float32, by rising column.
    void (*linear_rounded)(Rounded x, Panels w, const Rows* residual, Rows out, int64_t tokens, int64_t begin, int64_t end);
    // One row of activations to codes and scales. What is not finite makes its group's scale not a number.
    void (*round)(const float* x, int64_t columns, Rounded out);
    void (*attend)(const AttendTask& task);
    void (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t width, float* out);
    void (*swiglu)(const float* gate, const float* up, int64_t width, float* out);
    // Turns `heads` heads of `dim` by the angle of one position: the halves of a head are the two coordinates.
    void (*rope)(const float* x, const float* cosines, const float* sines, int64_t heads, int64_t dim, float* out,
                 int64_t out_stride);
    // Rounds to nearest, of two the even one; what is too large becomes infinite.
    void (*halve)(const float* x, int64_t count, Half* out);
};

const Kernels* portable_kernels();
const Kernels* avx2_kernels();  // Null where this build or this processor has no AVX2, FMA and F16C.

// What the machine can do at most, for benchmarks. The results are there so that the work is not left out.
struct Probes {
    float (*read)(const float* data, int64_t size, int streams);  // Sums `size` floats, read in `streams` places at once.
    float (*compute)(int64_t rounds);                             // `kRoundFlops` floating-point operations a round.
};
constexpr int kRoundFlops = 12 * 8 * 2;
const Probes* portable_probes();
const Probes* avx2_probes();

bool cpu_has_avx2();

}  // namespace colonnade
