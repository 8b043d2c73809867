// A weight in the form the kernels read, with its bias.
#pragma once

#include <memory>

#include "kernels.h"
#include "memory.h"

namespace colonnade {

inline int64_t padded(int64_t count, int64_t unit = kPanel) { return (count + unit - 1) / unit * unit; }

class Matrix {
public:
    Matrix(int64_t rows, int64_t columns, bool bias)
        : rows(rows), columns(columns), weight_(padded(rows) * columns), bias_(bias ? padded(rows) : 0), biased_(bias) {}

    // Writes `count` rows, row-major, from row `first` on.
    void put(int64_t first, int64_t count, const float* from) {
        for (int64_t n = first; n < first + count; n++) {
            float* to = weight_.data() + n / kPanel * kPanel * columns + n % kPanel;
            const float* row = from + (n - first) * columns;
            for (int64_t k = 0; k < columns; k++) to[k * kPanel] = row[k];
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
    Panels view() const { return {weight_.data(), biased_ ? bias_.data() : nullptr, columns}; }

    const int64_t rows;
    const int64_t columns;

private:
    Memory weight_;
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
