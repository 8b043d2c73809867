// The choice of experts of one token, from the router's logits.
#pragma once

#include <cstdint>

namespace colonnade {

struct Routing {
    int64_t experts;
    int64_t chosen;
    int64_t groups;         // Experts fall into so many groups of neighbours,
    int64_t groups_chosen;  // of which so many are open to a token.
    bool sigmoid;           // Scores are sigmoids, else one softmax.
    bool paired;            // A group counts as much as its two best together, else as its best.
    bool normalised;        // Weights are divided by their sum,
    float scale;            // and multiplied with this.
};

// Writes the chosen experts' numbers, rising, then their weights in the same order: 2 x chosen floats. The choice is by
// score + bias, the weight is the score. Of equals the lowest number wins. Not-a-number is chosen last and stays one.
void route(const float* logits, const float* bias, const Routing& routing, float* out);

}  // namespace colonnade
