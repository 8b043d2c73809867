// The draw of one token: the rule of engine/sampler.py, `choose`, in double precision.
#pragma once

#include <cstdint>

namespace colonnade {

struct Filters {
    double temperature;  // Above 0.
    int64_t top_k;       // 0 for no limit.
    double top_p;
    double min_p;
};

// The token at `number` in [0, 1) of the filtered distribution of `size` logits, whose largest is finite.
int64_t choose(const float* logits, int64_t size, Filters filters, double number);

}  // namespace colonnade
