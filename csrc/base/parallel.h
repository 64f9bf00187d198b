// parallel_for: the only door to threads. Safe to include in ISA objects: no std types, nothing exported.
#pragma once
#include "base/types.h"

namespace pydl {

// How many threads a region may use, the calling one included. At first PYDL_NUM_THREADS, else OMP_NUM_THREADS, else
// the cores this process may run on (affinity and container quota). Throws std::runtime_error for a PYDL_NUM_THREADS
// that is no positive number; the first call comes from the import.
int threads();
void set_threads(int count);
// The same, once the threads are there: fewer than were asked for where the system grants no more.
int granted_threads();

// body(context, i) for every i in [0, count), each once, in any order, on any thread; returns when all are done. After
// an interruption chunks that have not begun are skipped: what the kernel writes is thrown away.
void run_chunks(dim count, void (*body)(void* context, dim i), void* context);

// For loops inside a chunk that may take longer than a tenth of a second: whether to leave, because of an interruption
// (base/interrupt.h). 10 ns: ask once per some microseconds of work.
bool interrupted();

// f(begin, end) on the chunks [0, grain), [grain, 2 grain), ... of n items. The chunks depend on n and grain only, so
// what is computed chunk by chunk has the same bits for any number of threads. One chunk runs on the caller and
// touches nothing shared; so do calls from inside f. A chunk should be worth 10 microseconds or more.
template <class F>
PYDL_INLINE void parallel_for(dim n, dim grain, F f) {
    if (n <= grain) {
        if (n > 0) f(dim{0}, n);
        return;
    }
    struct Context {
        F* f;
        dim n, grain;
    } context{&f, n, grain};
    run_chunks((n + grain - 1) / grain,
               [](void* p, dim i) {
                   const Context& c = *static_cast<Context*>(p);
                   const dim begin = i * c.grain, left = c.n - begin;
                   (*c.f)(begin, begin + (left < c.grain ? left : c.grain));
               },
               &context);
}

}  // namespace pydl
