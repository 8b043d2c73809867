// The draw of one token: the rule of engine/sampler.py, in double precision.
#pragma once

#include <cstdint>

#include "noise.h"

namespace colonnade {

struct Filters {
    double temperature;  // 0: the most likely token.
    int64_t top_k;       // 0 for no limit.
    double top_p;
    double min_p;
};

// Instead of a token.
constexpr int64_t kNotFinite = -1, kNothingAllowed = -2;

// The token at `number` in [0, 1) of the filtered distribution of `size` logits, whose largest is finite; temperature
// above 0.
int64_t choose(const float* logits, int64_t size, Filters filters, double number);

// The whole draw of a row without penalties: `words` has a bit for each token that is allowed, and is null where all are.
int64_t draw(const float* logits, int64_t size, const uint32_t* words, Filters filters, const Place& place);

}  // namespace colonnade
