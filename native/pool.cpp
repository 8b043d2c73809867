#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace colonnade {

namespace {

constexpr uint64_t kClosed = 0xffffffffu;
// Between two stages of a step a worker spins (about 20 microseconds); between two steps it sleeps.
constexpr int kSpins = 1000;

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}

uint64_t job_of(uint64_t ticket) { return ticket >> 32; }

}  // namespace

Pool::Pool(int threads) : ticket_(kClosed) {
    for (int i = 1; i < threads; i++) workers_.emplace_back([this] { work(); });
}

Pool::~Pool() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        over_.store(true);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void Pool::run(int64_t items, Call call, const void* context) {
    const uint64_t job = job_of(ticket_.load()) + 1;
    // Closed first: a worker that still holds the last job's ticket can take nothing while the job's fields change.
    ticket_.store(job << 32 | kClosed);
    items_.store(items);
    call_.store(call);
    context_.store(context);
    done_.store(0);
    ticket_.store(job << 32);
    if (parked_.load() > 0) {
        { std::lock_guard<std::mutex> lock(mutex_); }
        wake_.notify_all();
    }
    while (take(ticket_.load())) {
    }
    for (int i = 0; done_.load() < items; i++) {
        if (i < kSpins)
            pause();
        else
            std::this_thread::yield();  // Whoever holds the last item may be waiting for this core.
    }
}

// Takes one item of the job that `seen` shows and works on it. False where none is left.
bool Pool::take(uint64_t seen) {
    const int64_t items = items_.load();
    const Call call = call_.load();
    const void* context = context_.load();
    const uint64_t item = seen & kClosed;
    if (item == kClosed || static_cast<int64_t>(item) >= items) return false;
    // Success means that the ticket, and so the job, is still the one the fields were read under.
    if (!ticket_.compare_exchange_strong(seen, seen + 1)) return true;
    call(context, static_cast<int64_t>(item));
    done_.fetch_add(1);
    return true;
}

bool Pool::news(uint64_t seen) const { return over_.load() || job_of(ticket_.load()) != seen; }

void Pool::work() {
    uint64_t job = 0;
    while (!over_.load()) {
        for (int i = 0; i < kSpins && !news(job); i++) pause();
        if (!news(job)) {
            std::unique_lock<std::mutex> lock(mutex_);
            parked_.fetch_add(1);
            wake_.wait(lock, [&] { return news(job); });
            parked_.fetch_sub(1);
        }
        job = job_of(ticket_.load());
        while (take(ticket_.load())) {
        }
    }
}

}  // namespace colonnade
