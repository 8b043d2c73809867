// Zeroed memory for floats, aligned to a cache line and, where large, fit for huge pages.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace colonnade {

// Pages are taken from the system as they are first written.
class Memory {
public:
    Memory() = default;
    explicit Memory(int64_t floats) : bytes_(static_cast<size_t>(floats < 1 ? 1 : floats) * sizeof(float)) {
        void* at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) throw std::bad_alloc();
        data_ = static_cast<float*>(at);
#ifdef MADV_HUGEPAGE
        madvise(at, bytes_, MADV_HUGEPAGE);
#endif
    }
    Memory(Memory&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
    Memory& operator=(Memory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Memory() {
        if (data_) munmap(data_, bytes_);
    }

    float* data() const { return data_; }

private:
    float* data_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace colonnade
