#include "probe.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "kernels.h"
#include "memory.h"
#include "pool.h"

namespace colonnade {

namespace {

constexpr int kTries = 3;
constexpr int64_t kRounds = 2'000'000;

const Probes& probes() { return avx2_probes() ? *avx2_probes() : *portable_probes(); }

double fastest(const std::function<void()>& work) {
    double best = 1e9;
    for (int i = 0; i < kTries; i++) {
        const auto begin = std::chrono::steady_clock::now();
        work();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best;
}

}  // namespace

double probe_bandwidth(int64_t megabytes, int threads, int streams) {
    const int64_t part = megabytes * 1'000'000 / 4 / threads;
    Memory memory(part * threads);
    std::fill_n(memory.data(), part * threads, 1.0f);
    Pool pool(threads);
    volatile float sink = 0.0f;
    const double seconds =
        fastest([&] { pool.each(threads, [&](int64_t i) { sink = probes().read(memory.data() + i * part, part, streams); }); });
    return static_cast<double>(part * threads * 4) / seconds;
}

double probe_flops(int threads) {
    Pool pool(threads);
    volatile float sink = 0.0f;
    const double seconds = fastest([&] { pool.each(threads, [&](int64_t) { sink = probes().compute(kRounds); }); });
    return static_cast<double>(kRounds) * kRoundFlops * threads / seconds;
}

}  // namespace colonnade
