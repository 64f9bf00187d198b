#include "base/interrupt.h"

#include <pthread.h>
#include <time.h>

#include <atomic>

#include "base/memory.h"

namespace pydl {
namespace {

// Half of what a user takes for "at once", less what a chunk takes. Looking takes the GIL, for which another busy Python
// thread lets us wait 5 ms.
constexpr dim kInterval = 50;

std::atomic<bool (*)()> hook{nullptr};
std::atomic<pthread_t> main_thread;

dim milliseconds() {
#if defined(CLOCK_MONOTONIC_COARSE)
    constexpr auto clock = CLOCK_MONOTONIC_COARSE;  // 4 ns instead of 25, and exact to some milliseconds
#else
    constexpr auto clock = CLOCK_MONOTONIC;
#endif
    timespec t;
    clock_gettime(clock, &t);
    return static_cast<dim>(t.tv_sec) * 1000 + t.tv_nsec / 1000000;
}

}  // namespace

bool Watch::due() {
    const dim now = milliseconds();
    if (now < next) return false;
    next = now + kInterval;
    return true;
}

Watch& watch() {
    thread_local Watch w;
    return w;
}

bool may_be_cut(const Watch& w) {
    return !w.whole && pthread_equal(pthread_self(), main_thread.load(std::memory_order_relaxed));
}

bool look(Watch& w) {
    if (w.raised || !may_be_cut(w)) return w.raised;
    const auto look_now = hook.load(std::memory_order_relaxed);
    if (!look_now || !w.due()) return false;
    // A handler may be any Python code, kernels included: it finds a thread that is not inside one.
    const Watch before = w;
    ScratchSlots aside;
    exchange_scratch(aside);
    const bool raised = look_now();
    exchange_scratch(aside);
    w = before;
    return w.raised = raised;
}

void set_interrupt_hook(bool (*look_now)(), unsigned long thread) {
    main_thread.store((pthread_t)thread);  // a number or a pointer
    // In a child process the thread that forked is the main one.
    if (!hook.exchange(look_now)) pthread_atfork(nullptr, nullptr, [] { main_thread.store(pthread_self()); });
}

}  // namespace pydl
