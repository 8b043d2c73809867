#include "choose.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

namespace colonnade {

namespace {

// e to the power of x for x <= 0, 0 below -708. Written out, without the system's library and without fused operations,
// so that it gives the same bits on every machine. Rational form after Cephes' exp (S. L. Moshier).
double exponential(double x) {
    if (!(x >= -708.0)) return 0.0;
    const double shift = 6755399441055744.0;  // 1.5 x 2^52: adding it rounds to a whole number.
    const double n = (x * 1.4426950408889634073599 + shift) - shift;
    const double r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
    const double square = r * r;
    const double p = r * ((1.26177193074810590878e-4 * square + 3.02994407707441961300e-2) * square + 9.99999999999999999910e-1);
    const double q = ((3.00198505138664455042e-6 * square + 2.52448340349684104192e-3) * square + 2.27265548208155028766e-1) * square + 2.0;
    const int64_t bits = (static_cast<int64_t>(n) + 1023) << 52;
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return (1.0 + 2.0 * (p / (q - p))) * power;
}

using Weights = std::vector<double>;

Weights weigh(const float* logits, int64_t size, double temperature) {
    const double peak = *std::max_element(logits, logits + size);
    Weights weights(static_cast<size_t>(size));
    for (size_t i = 0; i < weights.size(); i++) weights[i] = exponential((logits[i] - peak) / temperature);
    return weights;
}

double total_of(const Weights& weights) {
    double total = 0.0;
    for (const double weight : weights) total += weight;
    return total;
}

void drop_below(Weights& weights, double limit) {
    for (double& weight : weights)
        if (weight < limit) weight = 0.0;
}

// Keeps what ties with the k-th largest.
void keep_top_k(Weights& weights, size_t k) {
    Weights best(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(k));
    std::make_heap(best.begin(), best.end(), std::greater<>());
    for (size_t i = k; i < weights.size(); i++) {
        if (weights[i] <= best.front()) continue;
        std::pop_heap(best.begin(), best.end(), std::greater<>());
        best.back() = weights[i];
        std::push_heap(best.begin(), best.end(), std::greater<>());
    }
    drop_below(weights, best.front());
}

// Keeps the shortest row, by falling weight and then rising id, that reaches p of the whole; at least one.
void keep_top_p(Weights& weights, double p) {
    using Candidate = std::pair<double, int64_t>;  // The id is negated, so that the greatest pair comes first.
    std::vector<Candidate> left;
    for (size_t i = 0; i < weights.size(); i++)
        if (weights[i] > 0.0) left.emplace_back(weights[i], -static_cast<int64_t>(i));
    std::make_heap(left.begin(), left.end());
    const double wanted = p * total_of(weights);
    double reached = 0.0;
    do {
        std::pop_heap(left.begin(), left.end());
        reached += left.back().first;
        left.pop_back();
    } while (reached < wanted && !left.empty());
    for (const Candidate& dropped : left) weights[static_cast<size_t>(-dropped.second)] = 0.0;
}

}  // namespace

int64_t choose(const float* logits, int64_t size, Filters filters, double number) {
    Weights weights = weigh(logits, size, filters.temperature);
    if (filters.top_k > 0 && filters.top_k < size) keep_top_k(weights, static_cast<size_t>(filters.top_k));
    if (filters.top_p < 1.0) keep_top_p(weights, filters.top_p);
    if (filters.min_p > 0.0) drop_below(weights, filters.min_p);  // The most likely token weighs 1.
    const double wanted = number * total_of(weights);
    double reached = 0.0;
    int64_t last = 0;
    for (int64_t i = 0; i < size; i++) {
        const double weight = weights[static_cast<size_t>(i)];
        if (weight == 0.0) continue;
        reached += weight;
        last = i;
        if (reached > wanted) break;
    }
    return last;
}

}  // namespace colonnade
