// Measures what the machine can do at most, to stand beside a benchmark's numbers.
#pragma once

#include <cstdint>

namespace colonnade {

// Bytes a second that `threads` threads read together from their parts of `megabytes` (10^6 bytes); the best of three.
double probe_bandwidth(int64_t megabytes, int threads, int streams);

// Floating-point operations a second (float32; a fused multiply-add counts as two); the best of three.
double probe_flops(int threads);

}  // namespace colonnade
