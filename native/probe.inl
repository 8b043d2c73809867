// What one thread of the machine can do at most.
#pragma once

#include "kernels.h"

namespace colonnade {

template <class L, int kStreams>
float probe_streams(const float* data, int64_t size) {
    const int64_t part = size / kStreams / 16 * 16;
    L sum[kStreams][2];
    for (int s = 0; s < kStreams; s++) sum[s][0] = sum[s][1] = L::zero();
    for (int64_t i = 0; i < part; i += 16)
        for (int s = 0; s < kStreams; s++) {
            sum[s][0] = L::add(sum[s][0], L::load(data + s * part + i));
            sum[s][1] = L::add(sum[s][1], L::load(data + s * part + i + 8));
        }
    float total = 0.0f;
    for (int s = 0; s < kStreams; s++) total += L::add(sum[s][0], sum[s][1]).sum();
    return total;
}

template <class L>
float probe_read(const float* data, int64_t size, int streams) {
    return streams == 1 ? probe_streams<L, 1>(data, size)
         : streams == 2 ? probe_streams<L, 2>(data, size)
                        : probe_streams<L, 4>(data, size);
}

template <class L>
float probe_compute(int64_t rounds) {
    L sum[12];
    for (int i = 0; i < 12; i++) sum[i] = L::set(static_cast<float>(i));
    const L factor = L::set(0.999f), step = L::set(0.001f);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < 12; i++) sum[i] = L::fma(sum[i], factor, step);
    L total = L::zero();
    for (int i = 0; i < 12; i++) total = L::add(total, sum[i]);
    return total.sum();
}

}  // namespace colonnade
