// Ctrl-C inside long kernels. Signals are Python's affair and base/ knows no Python: bind/ sets the function that looks.
// The thread that runs Python's signal handlers looks between chunks of work, by the clock. When a handler raises, what
// is left of the kernel is skipped, its result is worthless, and the exception waits in the interpreter for the caller.
// Kernels ask by interrupted() of base/parallel.h; this is what programs and the pool need.
#pragma once
#include "base/types.h"

namespace pydl {

class Pool;

// What a thread knows about interruptions.
struct Watch {
    bool whole = false;    // what runs now writes memory that outlives it: it is not cut short
    bool raised = false;   // a handler has raised: nothing runs any more until the exception is taken
    Pool* pool = nullptr;  // on a thread of the pool, which asks the thread that has opened the region
    dim next = 0;          // when to look again, in milliseconds of the clock

    // Whether it is time to look.
    bool due();
};
Watch& watch();

// Whether this thread runs signal handlers and what it runs now may be cut short.
bool may_be_cut(const Watch& w);

// Looks for signals if it is time, this is the main thread and its work may be cut short; returns watch().raised.
bool look(Watch& w);

// `look_now` runs pending signal handlers and says whether one raised. It is called, with the GIL or without, on one
// thread only: `main_thread`, a pthread_t as a number, and in a child process the thread that forked.
void set_interrupt_hook(bool (*look_now)(), unsigned long main_thread);

}  // namespace pydl
