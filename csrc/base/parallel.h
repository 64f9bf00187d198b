// parallel_for(n, grain, f): f(begin, end) on fixed chunks of `grain` items. Provisional: one thread.
#pragma once
#include "base/types.h"

namespace pydl {

int threads();
void set_threads(int count);

template <class F>
PYDL_INLINE void parallel_for(dim n, dim grain, F f) {
    for (dim begin = 0; begin < n; begin += grain) f(begin, begin + grain < n ? begin + grain : n);
}

}  // namespace pydl
