#include "route.h"

#include <cmath>
#include <vector>

namespace colonnade {

namespace {

// In double precision, rounded once: close to any library's float32, and the same on every instruction set.
void score(const float* logits, const Routing& routing, float* scores) {
    if (routing.sigmoid) {
        for (int64_t e = 0; e < routing.experts; e++)
            scores[e] = static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(logits[e]))));
        return;
    }
    float peak = -INFINITY;
    for (int64_t e = 0; e < routing.experts; e++) peak = logits[e] > peak ? logits[e] : peak;
    double total = 0.0;
    for (int64_t e = 0; e < routing.experts; e++) total += std::exp(static_cast<double>(logits[e]) - peak);
    for (int64_t e = 0; e < routing.experts; e++)
        scores[e] = static_cast<float>(std::exp(static_cast<double>(logits[e]) - peak) / total);
}

// The best of those that are open; the first open one where none compares.
int64_t best(const std::vector<float>& scores, const std::vector<char>& open, int64_t from, int64_t to) {
    int64_t found = -1;
    for (int64_t i = from; i < to; i++)
        if (open[static_cast<size_t>(i)] &&
            (found < 0 || scores[static_cast<size_t>(i)] > scores[static_cast<size_t>(found)] ||
             (std::isnan(scores[static_cast<size_t>(found)]) && !std::isnan(scores[static_cast<size_t>(i)]))))
            found = i;
    return found;
}

// Marks the `count` best of [0, size) in a fresh mask.
std::vector<char> mark(const std::vector<float>& scores, std::vector<char> open, int64_t count) {
    std::vector<char> marked(scores.size(), 0);
    for (int64_t i = 0; i < count; i++) {
        const auto at = static_cast<size_t>(best(scores, open, 0, static_cast<int64_t>(scores.size())));
        marked[at] = 1;
        open[at] = 0;
    }
    return marked;
}

std::vector<char> open_experts(const std::vector<float>& wanted, const Routing& routing) {
    std::vector<char> open(wanted.size(), 1);
    if (routing.groups_chosen == routing.groups) return open;
    const int64_t size = routing.experts / routing.groups;
    std::vector<float> worth(static_cast<size_t>(routing.groups));
    for (int64_t g = 0; g < routing.groups; g++) {
        const int64_t first = best(wanted, open, g * size, (g + 1) * size);
        worth[static_cast<size_t>(g)] = wanted[static_cast<size_t>(first)];
        if (!routing.paired) continue;
        open[static_cast<size_t>(first)] = 0;
        worth[static_cast<size_t>(g)] += wanted[static_cast<size_t>(best(wanted, open, g * size, (g + 1) * size))];
        open[static_cast<size_t>(first)] = 1;
    }
    const std::vector<char> groups = mark(worth, std::vector<char>(worth.size(), 1), routing.groups_chosen);
    for (int64_t e = 0; e < routing.experts; e++) open[static_cast<size_t>(e)] = groups[static_cast<size_t>(e / size)];
    return open;
}

}  // namespace

void route(const float* logits, const float* bias, const Routing& routing, float* out) {
    const auto count = static_cast<size_t>(routing.experts);
    std::vector<float> scores(count), wanted(count);
    score(logits, routing, scores.data());
    for (size_t e = 0; e < count; e++) wanted[e] = scores[e] + bias[e];
    const std::vector<char> taken = mark(wanted, open_experts(wanted, routing), routing.chosen);
    float total = 0.0f;
    int64_t at = 0;
    for (size_t e = 0; e < count; e++) {
        if (!taken[e]) continue;
        out[at] = static_cast<float>(e);
        out[routing.chosen + at++] = scores[e];
        total += scores[e];
    }
    for (int64_t i = routing.chosen; i < 2 * routing.chosen; i++) {
        if (routing.normalised) out[i] /= total + 1e-20f;
        out[i] *= routing.scale;
    }
}

}  // namespace colonnade
