// parallel_for: the only door to threads. Safe to include in ISA objects: no std types, nothing exported.
#pragma once
#include "base/types.h"

namespace pydl {

// How many threads a region may use, the calling one included. At first PYDL_NUM_THREADS, else OMP_NUM_THREADS, else
// the cores this process may run on (affinity, places, container quota); never more than OMP_THREAD_LIMIT. Throws
// std::runtime_error for a PYDL_NUM_THREADS that is no positive number; the first call comes from the import.
int threads();
// Where the next region has another number of threads than the last one had, it ends those and makes new ones. With one
// thread they sleep on: going to and fro costs nothing.
void set_threads(int count);
// threads() once they are there, for which it makes them: fewer where the system grants no more.
int granted_threads();

// body(context, i) for every i in [0, count), each once, in any order, on any thread; returns when all are done. After
// an interruption (base/interrupt.h) chunks that have not begun are skipped: what the kernel writes is thrown away.
// So they are after one that throws: a body throws OutOfMemory only, and it is raised here when all have ended.
void run_chunks(dim count, void (*body)(void* context, dim i), void* context);

// Whether to leave a kernel because of an interruption: what it writes is thrown away. 10 ns.
bool interrupted();

// For loops inside of one chunk that may take longer than some milliseconds, which run_chunks cannot cut.
class Poll {
public:
    // `work`: multiply-adds since the last call, or what takes as long. Asks once per 50 microseconds with AVX-512, one
    // millisecond without.
    PYDL_INLINE bool operator()(dim work) {
        done_ += work;
        if (done_ < (dim{1} << 22)) return false;
        done_ = 0;
        return interrupted();
    }

private:
    dim done_ = 0;
};

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
