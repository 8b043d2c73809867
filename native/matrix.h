// A weight in the form the kernels read, with its bias.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "kernels.h"
#include "memory.h"

namespace colonnade {

inline int64_t padded(int64_t count, int64_t unit = kPanel) { return (count + unit - 1) / unit * unit; }

enum class Storage { kFloat32, kBfloat16, kFloat8, kInt8 };

class Matrix {
public:
    // `block`: columns that share a scale, for 8-bit floats. `rounds_input`: what it is multiplied with is rounded before.
    Matrix(int64_t rows, int64_t columns, bool bias, Storage storage, int64_t block = 1, bool rounds_input = false)
        : rows(rows),
          columns(columns),
          storage(storage),
          block(storage == Storage::kInt8 ? kGroup : block),
          rounds_input(rounds_input),
          owned_(bytes() / 4),
          owned_scales_(scales()),
          bias_(bias ? padded(rows) : 0),
          weight_(owned_.data()),
          scales_(owned_scales_.data()),
          biased_(bias) {}
    // 8-bit integers that lie elsewhere, as `codes` and `scale_data` of a former matrix of this shape gave them.
    Matrix(int64_t rows, int64_t columns, bool bias, const uint8_t* codes, const float* scales, std::shared_ptr<void> keeper)
        : rows(rows),
          columns(columns),
          storage(Storage::kInt8),
          block(kGroup),
          rounds_input(false),
          bias_(bias ? padded(rows) : 0),
          weight_(const_cast<uint8_t*>(codes)),
          scales_(const_cast<float*>(scales)),
          biased_(bias),
          keeper_(std::move(keeper)) {}

    // Writes `count` rows, row-major, from row `first` on.
    void put(int64_t first, int64_t count, const float* from) { put_as(static_cast<float*>(weight_), first, count, from); }
    void put_briefs(int64_t first, int64_t count, const uint16_t* from) {
        put_as(static_cast<uint16_t*>(weight_), first, count, from);
    }
    // The same for 8-bit floats, with scales [blocks of rows, blocks of columns] that count from these rows. A code that is
    // not a number makes its scale so: the kernels know no such code, and the row's products are not numbers either way.
    void put_blocks(int64_t first, int64_t count, const uint8_t* from, const float* scales) {
        const int64_t across = view().blocks();
        put_as(static_cast<uint8_t*>(weight_), first, count, from);
        for (int64_t n = first; n < first + count; n++) {
            const uint8_t* row = from + (n - first) * columns;
            float* kept = scales_ + n / kPanel * across * kPanel + n % kPanel;
            for (int64_t b = 0; b < across; b++) kept[b * kPanel] = scales[(n - first) / block * across + b];
            for (int64_t k = 0; k < columns; k++)
                if ((row[k] & 0x7f) == 0x7f) kept[k / block * kPanel] = std::numeric_limits<float>::quiet_NaN();
        }
    }
    // The same for 8-bit integers: rounds each group of a row by its largest number (engine/integers.py is the definition).
    void put_rounded(int64_t first, int64_t count, const float* from) {
        const int64_t across = view().blocks(), pairs = view().pairs();
        for (int64_t n = first; n < first + count; n++) {
            const float* row = from + (n - first) * columns;
            int8_t* to = static_cast<int8_t*>(weight_) + (n / kPanel * kPanel * pairs + n % kPanel) * 2;
            float* kept = scales_ + n / kPanel * across * kPanel + n % kPanel;
            for (int64_t b = 0; b < across; b++)
                kept[b * kPanel] = round_group(row, b * kGroup, std::min(columns, (b + 1) * kGroup), to);
        }
    }
    void put_bias(int64_t first, int64_t count, const float* from) {
        for (int64_t i = 0; i < count; i++) bias_.data()[first + i] = from[i];
    }
    // A row in float32; not of 8-bit weights.
    void get(int64_t row, float* to) const {
        const int64_t at = row / kPanel * kPanel * columns + row % kPanel;
        if (storage == Storage::kFloat32)
            for (int64_t k = 0; k < columns; k++) to[k] = static_cast<const float*>(weight_)[at + k * kPanel];
        else
            for (int64_t k = 0; k < columns; k++) {
                const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(weight_)[at + k * kPanel]) << 16;
                std::memcpy(to + k, &bits, 4);
            }
    }
    int64_t panels() const { return padded(rows) / kPanel; }
    Panels view() const {
        const float* bias = biased_ ? bias_.data() : nullptr;
        Panels view = {nullptr, bias, columns, nullptr, scales_, block};
        if (storage == Storage::kFloat32) view.data = static_cast<const float*>(weight_);
        if (storage == Storage::kBfloat16) view.briefs = static_cast<const Brief*>(weight_);
        if (storage == Storage::kFloat8) view.bytes = static_cast<const uint8_t*>(weight_);
        if (storage == Storage::kInt8) view.codes = static_cast<const int8_t*>(weight_);
        return view;
    }
    bool rounded() const { return storage == Storage::kInt8; }
    // The weight as it lies in memory.
    int64_t bytes() const {
        if (storage == Storage::kInt8) return padded(rows) * ((columns + 1) / 2) * 2;
        return padded(rows) * columns * (storage == Storage::kFloat32 ? 4 : storage == Storage::kBfloat16 ? 2 : 1);
    }
    int64_t scales() const {
        return storage == Storage::kInt8 || storage == Storage::kFloat8 ? padded(rows) * ((columns + block - 1) / block) : 0;
    }
    const uint8_t* data() const { return static_cast<const uint8_t*>(weight_); }
    const float* scale_data() const { return scales_; }

    const int64_t rows;
    const int64_t columns;
    const Storage storage;
    const int64_t block;
    const bool rounds_input;

private:
    template <class Type>
    void put_as(Type* panels, int64_t first, int64_t count, const Type* from) {
        for (int64_t n = first; n < first + count; n++) {
            Type* to = panels + n / kPanel * kPanel * columns + n % kPanel;
            const Type* row = from + (n - first) * columns;
            for (int64_t k = 0; k < columns; k++) to[k * kPanel] = row[k];
        }
    }
    // Codes of columns [begin, end) of a row, and their scale.
    float round_group(const float* row, int64_t begin, int64_t end, int8_t* to) const {
        float most = 0.0f, poison = 0.0f;
        for (int64_t k = begin; k < end; k++) most = std::max(most, std::fabs(row[k])), poison += row[k] * 0.0f;
        const float scale = most / 127.0f, shift = 12582912.0f;  // 1.5 x 2^23: adding it rounds to a whole number.
        if (!(scale > 0.0f) || poison != 0.0f) return scale + poison;
        for (int64_t k = begin; k < end; k++)
            to[k / 2 * 2 * kPanel + k % 2] = static_cast<int8_t>((row[k] / scale + shift) - shift);
        return scale;
    }

    Memory owned_;
    Memory owned_scales_;
    Memory bias_;
    void* weight_;
    float* scales_;
    bool biased_;
    std::shared_ptr<void> keeper_;
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
