// A few threads that share the items of a job. Who takes which item is left to chance and must not matter.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace colonnade {

class Pool {
public:
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    // Calls work(item) for each item in [0, items); the caller works too, and returns when all are done.
    template <class Work>
    void each(int64_t items, const Work& work) {
        if (items <= 1 || workers_.empty()) {
            for (int64_t i = 0; i < items; i++) work(i);
            return;
        }
        run(items, [](const void* it, int64_t item) { (*static_cast<const Work*>(it))(item); }, &work);
    }

private:
    using Call = void (*)(const void*, int64_t);

    void run(int64_t items, Call call, const void* context);
    void work();
    bool take(uint64_t seen);
    bool news(uint64_t seen) const;

    // The high half counts jobs, the low half the items taken; kClosed while no job may be entered.
    std::atomic<uint64_t> ticket_;
    std::atomic<int64_t> items_{0};
    std::atomic<Call> call_{nullptr};
    std::atomic<const void*> context_{nullptr};
    std::atomic<int64_t> done_{0};
    std::atomic<int> parked_{0};
    std::atomic<bool> over_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::thread> workers_;
};

}  // namespace colonnade
