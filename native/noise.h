// Randomness as a function: the rule of engine/noise.py, for the stream that draws tokens.
#pragma once

#include <cstdint>

namespace colonnade {

// Where in an answer a token is drawn.
struct Place {
    uint64_t seed;
    uint64_t choice;
    uint64_t position;
};

inline uint64_t mix(uint64_t word) {
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
    return word ^ (word >> 31);
}

// A number in [0, 1), a multiple of 2^-53.
inline double uniform(const Place& place) {
    const uint64_t gamma = 0x9E3779B97F4A7C15u;
    uint64_t state = mix(place.seed + gamma);
    state = mix(state + gamma + place.choice);
    state = mix(state + gamma + place.position);
    return static_cast<double>(mix(state + gamma) >> 11) * 0x1p-53;
}

}  // namespace colonnade
