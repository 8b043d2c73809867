// A weight in the form the kernels read, with its bias.
#pragma once

#include <limits>
#include <memory>

#include "kernels.h"
#include "memory.h"

namespace colonnade {

inline int64_t padded(int64_t count, int64_t unit = kPanel) { return (count + unit - 1) / unit * unit; }

class Matrix {
public:
    // `block`: columns that share a scale, for 8-bit floats; 0 for float32. `rounded`: so are activations before it.
    Matrix(int64_t rows, int64_t columns, bool bias, int64_t block, bool rounded)
        : rows(rows),
          columns(columns),
          block(block),
          rounded(rounded),
          weight_(block ? padded(rows) / 4 * columns : padded(rows) * columns),
          scales_(block ? padded(rows) * ((columns + block - 1) / block) : 0),
          bias_(bias ? padded(rows) : 0),
          biased_(bias) {}

    // Writes `count` rows, row-major, from row `first` on.
    void put(int64_t first, int64_t count, const float* from) {
        for (int64_t n = first; n < first + count; n++) {
            float* to = weight_.data() + n / kPanel * kPanel * columns + n % kPanel;
            const float* row = from + (n - first) * columns;
            for (int64_t k = 0; k < columns; k++) to[k * kPanel] = row[k];
        }
    }
    // The same for 8-bit floats, with scales [blocks of rows, blocks of columns] that count from these rows. A code that is
    // not a number makes its scale so: the kernels know no such code, and the row's products are not numbers either way.
    void put_blocks(int64_t first, int64_t count, const uint8_t* from, const float* scales) {
        const int64_t across = (columns + block - 1) / block;
        for (int64_t n = first; n < first + count; n++) {
            uint8_t* to = bytes() + n / kPanel * kPanel * columns + n % kPanel;
            const uint8_t* row = from + (n - first) * columns;
            float* kept = scales_.data() + n / kPanel * across * kPanel + n % kPanel;
            for (int64_t b = 0; b < across; b++) kept[b * kPanel] = scales[(n - first) / block * across + b];
            for (int64_t k = 0; k < columns; k++) {
                to[k * kPanel] = row[k];
                if ((row[k] & 0x7f) == 0x7f) kept[k / block * kPanel] = std::numeric_limits<float>::quiet_NaN();
            }
        }
    }
    void put_bias(int64_t first, int64_t count, const float* from) {
        for (int64_t i = 0; i < count; i++) bias_.data()[first + i] = from[i];
    }
    void get(int64_t row, float* to) const {
        const float* from = weight_.data() + row / kPanel * kPanel * columns + row % kPanel;
        for (int64_t k = 0; k < columns; k++) to[k] = from[k * kPanel];
    }
    int64_t panels() const { return padded(rows) / kPanel; }
    Panels view() const {
        const float* bias = biased_ ? bias_.data() : nullptr;
        if (block) return {nullptr, bias, columns, bytes(), scales_.data(), block};
        return {weight_.data(), bias, columns, nullptr, nullptr, 1};
    }

    const int64_t rows;
    const int64_t columns;
    const int64_t block;
    const bool rounded;

private:
    uint8_t* bytes() const { return reinterpret_cast<uint8_t*>(weight_.data()); }

    Memory weight_;
    Memory scales_;
    Memory bias_;
    bool biased_;
};

// A vector padded with zeros.
class Vector {
public:
    Vector(int64_t size, const float* from) : size(size), memory_(padded(size)) {
        for (int64_t i = 0; i < size; i++) memory_.data()[i] = from[i];
    }
    const float* data() const { return memory_.data(); }
    const int64_t size;

private:
    Memory memory_;
};

using MatrixPtr = std::shared_ptr<Matrix>;
using VectorPtr = std::shared_ptr<Vector>;

}  // namespace colonnade
