#include "base/parallel.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/cores.h"
#include "base/interrupt.h"
#include "base/team.h"

// The pool. Its threads are a team: as a rule the members of one OpenMP region, which lives until their number changes.
// Chunks are claimed one by one, the caller claims too, and it waits only for chunks that a worker has begun. What
// decides is a busy neighbour process: the barrier that ends an OpenMP region waits for every thread, also for one that
// is not running; see docs/performance.md for the numbers. Tried and dropped, because they cost more alone than they
// gained beside a neighbour: working alone for a while after a long wait (1000 us jobs alone: mean 555 -> 629 us),
// keeping workers off the caller's core by affinity (no difference).

namespace pydl {
namespace {

using std::chrono::microseconds;
// A worker waits for the next region awake, then sleeps. Waking it costs the caller 8 us (futex, virtual machine), so
// that after a pause of this length it is below 4 %. With 30 us, 20 us of work each 100 us took 28 us instead of 11.
constexpr auto kWorkerSpin = microseconds(200);
// The caller waits for chunks a worker has begun, awake and then asleep: the worker may need our core to finish.
constexpr auto kCallerSpin = microseconds(10);
constexpr int kMostThreads = 0x7ffe;  // what Pool::state_ can count, and the caller

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Whether `ready` came true within the time.
template <class F>
bool spin(microseconds time, F ready) {
    const auto end = std::chrono::steady_clock::now() + time;
    do {
        for (int i = 0; i < 8; ++i) {
            if (ready()) return true;
            pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

int first_threads() {
    const auto positive = [](const char* text, bool list) {
        char* end = nullptr;
        const long n = std::strtol(text, &end, 10);
        const bool number = end != text && (*end == 0 || (list && *end == ','));
        return number && n > 0 && n <= kMostThreads ? static_cast<int>(n) : 0;
    };
    if (const char* text = std::getenv("PYDL_NUM_THREADS"); text && *text) {
        if (const int n = positive(text, false)) return n;
        throw std::runtime_error(std::string("PYDL_NUM_THREADS=") + text + ": expected a positive number of threads");
    }
    if (const char* text = std::getenv("OMP_NUM_THREADS"); text && *text)
        if (const int n = positive(text, true)) return n;
    return count_cores("", threading_cores());
}

// Threads of a region, the caller included, no more than the library grants.
int bounded(int count) { return std::clamp(count, 1, std::min(threading_limit(), kMostThreads)); }

std::atomic<int>& setting() {
    static std::atomic<int> count{bounded(first_threads())};
    return count;
}

}  // namespace

class Pool {
public:
    ~Pool() = delete;  // workers may run while the process ends: a pool is never freed

    // False when another region is running (of another thread, or the one we are inside).
    bool run(int threads, dim count, void (*body)(void*, dim), void* context) {
        if (busy_.exchange(true, std::memory_order_acquire)) return false;
        if (workers_ != threads - 1) resize(threads - 1);
        body_ = body;
        context_ = context;
        count_ = count;
        cut_.store(false, std::memory_order_relaxed);
        failed_.store(false, std::memory_order_relaxed);
        next_.store(0, std::memory_order_relaxed);
        open();
        Watch& w = watch();
        work([&] { return look(w); });
        close(w);
        const std::exception_ptr failure = std::exchange(failure_, nullptr);
        busy_.store(false, std::memory_order_release);
        if (failure) std::rethrow_exception(failure);
        return true;
    }

    // Makes the team that the next region would make; nothing while a region is running.
    void prepare(int threads) {
        if (busy_.exchange(true, std::memory_order_acquire)) return;
        if (workers_ != threads - 1) resize(threads - 1);
        busy_.store(false, std::memory_order_release);
    }

    // Asked by a worker in the middle of a long chunk. The caller may be asleep until we leave it: we wake it from time
    // to time, since only it can look for signals.
    bool interrupted(Watch& w) {
        if (cut_.load(std::memory_order_relaxed)) return true;
        if (w.due()) wake_caller();
        return false;
    }

private:
    // state_: region number, whether a region is open, how many workers are in it. A worker may read body_,
    // context_ and count_ only between entering an open region and leaving it.
    static constexpr std::uint32_t kOne = 1, kInside = 0x7fff, kOpen = 0x8000, kRegion = 0x10000;

    void open() {
        const auto s = state_.load(std::memory_order_relaxed);
        state_.store(((s & ~kOpen) + kRegion) | kOpen, std::memory_order_seq_cst);
        if (asleep_.load(std::memory_order_seq_cst) > 0) state_.notify_all();
    }

    void close(Watch& w) {
        if (!(state_.fetch_and(~kOpen) & kInside)) return;
        const auto empty = [&] { return !(state_.load() & kInside); };
        // A worker whose core was taken away may need milliseconds. Asleep, we leave it ours.
        if (spin(kCallerSpin, empty)) return;
        for (;;) {
            const auto before = left_.load();
            if (empty()) return;
            left_.wait(before);
            if (look(w)) cut();
        }
    }

    void wake_caller() {
        left_.fetch_add(1);
        left_.notify_one();
    }

    // No chunk is begun any more, and long ones are left.
    void cut() {
        cut_.store(true, std::memory_order_relaxed);
        next_.store(count_, std::memory_order_relaxed);
    }

    template <class F>
    void work(F stopped) {
        for (dim i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) {
            try {
                body_(context_, i);
            } catch (...) {  // no memory: the caller raises it when nobody uses its context any more
                if (!failed_.exchange(true)) failure_ = std::current_exception();
                return cut();
            }
            if (stopped()) return cut();
        }
    }

    void worker() {
        watch().pool = this;
        std::uint32_t seen = 0;  // state of the region we were in last
        const auto wanted = [&] {
            const auto s = state_.load();
            return ((s & kOpen) && (s ^ seen) >= kRegion) || ending_.load(std::memory_order_relaxed);
        };
        for (;;) {
            if (!spin(kWorkerSpin, wanted)) {
                asleep_.fetch_add(1);
                for (;;) {
                    const auto s = state_.load();
                    if (wanted()) break;
                    state_.wait(s);
                }
                asleep_.fetch_sub(1);
            }
            if (ending_.load()) break;
            auto s = state_.load();
            while ((s & kOpen) && !state_.compare_exchange_weak(s, s + kOne)) {}
            if (!(s & kOpen)) continue;
            seen = s;
            work([] { return false; });
            if (!((state_.fetch_sub(kOne) - kOne) & (kInside | kOpen))) wake_caller();
        }
        watch().pool = nullptr;  // the thread is its maker's, who may have another use for it
    }

    // Ends the team and makes one of `count` workers, or of as many as there may be.
    void resize(int count) {
        ending_.store(true);
        state_.fetch_add(kRegion);
        state_.notify_all();
        team_.join();
        ending_.store(false);
        workers_ = count ? team_.start(count, [](void* pool) { static_cast<Pool*>(pool)->worker(); }, this) : 0;
        int asked = count + 1;  // unless another number has been set meanwhile
        if (workers_ < count) setting().compare_exchange_strong(asked, workers_ + 1);
    }

    std::atomic<bool> busy_{false};
    std::atomic<bool> ending_{false};
    int workers_ = 0;
    Team team_;
    void (*body_)(void*, dim) = nullptr;
    void* context_ = nullptr;
    dim count_ = 0;
    alignas(64) std::atomic<std::uint32_t> state_{0};
    std::atomic<int> asleep_{0};
    alignas(64) std::atomic<dim> next_{0};
    alignas(64) std::atomic<int> left_{0};
    std::atomic<bool> cut_{false}, failed_{false};
    std::exception_ptr failure_;  // of the chunk that set failed_; read when all have left the region
};

namespace {

// A child process has none of its parent's threads: it starts with a new pool.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
    Pool* p = pool.load(std::memory_order_acquire);
    if (p) return *p;
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); }); });
    auto* fresh = new Pool;
    if (pool.compare_exchange_strong(p, fresh)) return *fresh;
    return *p;  // another thread was first; the unused one stays, it has no threads
}

}  // namespace

int threads() { return setting().load(std::memory_order_relaxed); }

void set_threads(int count) { setting().store(bounded(count)); }

int granted_threads() {
    if (threads() > 1) the_pool().prepare(threads());
    return threads();
}

bool interrupted() {
    Watch& w = watch();
    return w.pool ? w.pool->interrupted(w) : look(w);
}

void run_chunks(dim count, void (*body)(void*, dim), void* context) {
    if (interrupted()) return;
    const int n = threads();
    if (n > 1 && count > 1 && the_pool().run(n, count, body, context)) return;
    for (dim i = 0; i < count; ++i) {
        body(context, i);
        if (interrupted()) return;
    }
}

}  // namespace pydl
