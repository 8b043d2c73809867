#include "choose.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace colonnade {

namespace {

// The compiler makes a second form of these loops, of four numbers at a time, and the machine chooses. No operation is fused
// in either (see CMakeLists.txt), so both give the same bits.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define COLONNADE_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define COLONNADE_WIDE
#endif

// e to the power of x for x <= 0, 0 below -708. Written out, without the system's library, without fused operations and
// without a branch, so that it gives the same bits on every machine, several at a time. Rational form after Cephes' exp
// (S. L. Moshier).
inline double exponential(double x) {
    const double shift = 6755399441055744.0;  // 1.5 x 2^52: adding it rounds to a whole number, which its low bits then are.
    const double shifted = x * 1.4426950408889634073599 + shift;
    const double n = shifted - shift;
    const double r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
    const double square = r * r;
    const double p = r * ((1.26177193074810590878e-4 * square + 3.02994407707441961300e-2) * square + 9.99999999999999999910e-1);
    const double q = ((3.00198505138664455042e-6 * square + 2.52448340349684104192e-3) * square + 2.27265548208155028766e-1) * square + 2.0;
    int64_t bits, zero;
    std::memcpy(&bits, &shifted, sizeof bits);
    std::memcpy(&zero, &shift, sizeof zero);
    bits = static_cast<int64_t>(static_cast<uint64_t>(bits - zero + 1023) << 52);
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return x >= -708.0 ? (1.0 + 2.0 * (p / (q - p))) * power : 0.0;
}

using Weights = std::vector<double>;

COLONNADE_WIDE void weigh(const float* logits, int64_t size, double peak, double temperature, double* weights) {
    for (int64_t i = 0; i < size; i++) weights[i] = exponential((logits[i] - peak) / temperature);
}

// As whole numbers in the order of the floats, of which compilers find the largest several at a time; its own inverse.
inline int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

// The largest of the numbers; NaN if one is.
COLONNADE_WIDE float largest(const float* logits, int64_t size) {
    int32_t best = std::numeric_limits<int32_t>::min(), magnitude = 0;
    for (int64_t i = 0; i < size; i++) {
        int32_t bits;
        std::memcpy(&bits, logits + i, sizeof bits);
        const int32_t place = ordered(bits), apart = bits & 0x7fffffff;
        best = best > place ? best : place;
        magnitude = magnitude > apart ? magnitude : apart;
    }
    constexpr int32_t infinite = 0x7f800000;
    if (magnitude > infinite) return std::numeric_limits<float>::quiet_NaN();
    best = ordered(best);
    float found;
    std::memcpy(&found, &best, sizeof found);
    return found;
}

// The first that is as large as `best`.
int64_t first_of(const float* logits, int64_t size, float best) {
    return std::find(logits, logits + size, best) - logits;
}

// Minus infinity for each token whose bit is not set. Most words have all bits, or none.
const float* admit(const float* logits, int64_t size, const uint32_t* words, std::vector<float>& admitted) {
    admitted.assign(static_cast<size_t>(size), -std::numeric_limits<float>::infinity());
    for (int64_t first = 0; first < size; first += 32) {
        const uint32_t word = words[first / 32];
        const int64_t count = std::min<int64_t>(32, size - first);
        float* out = admitted.data() + first;
        if (word == ~0u)
            std::copy(logits + first, logits + first + count, out);
        else if (word)
            for (int64_t i = 0; i < count; i++)
                if (word >> i & 1) out[i] = logits[first + i];
    }
    return admitted.data();
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
    Weights weights(static_cast<size_t>(size));
    weigh(logits, size, largest(logits, size), filters.temperature, weights.data());
    if (filters.top_k > 0 && filters.top_k < size) keep_top_k(weights, static_cast<size_t>(filters.top_k));
    if (filters.top_p < 1.0) keep_top_p(weights, filters.top_p);
    if (filters.min_p > 0.0) drop_below(weights, filters.min_p);  // The most likely token weighs 1.
    const double wanted = number * total_of(weights);
    double reached = 0.0;
    for (size_t i = 0; i < weights.size(); i++)
        if ((reached += weights[i]) > wanted) return static_cast<int64_t>(i);
    int64_t last = size - 1;  // The sum was rounded down.
    while (weights[static_cast<size_t>(last)] == 0.0) last--;
    return last;
}

int64_t draw(const float* logits, int64_t size, const uint32_t* words, Filters filters, const Place& place) {
    float best = largest(logits, size);
    if (!std::isfinite(best)) return kNotFinite;
    std::vector<float> admitted;
    if (words) {
        logits = admit(logits, size, words, admitted);
        best = largest(logits, size);
        if (!std::isfinite(best)) return kNothingAllowed;
    }
    if (filters.temperature <= 0.0) return first_of(logits, size, best);
    return choose(logits, size, filters, uniform(place));
}

}  // namespace colonnade
