// The tail of a kernel: what goes over its result part by part, while each part is in cache. A program gives one to a
// step whose result the next steps read element by element or row by row (program/parts.h). Safe in ISA objects.
#pragma once
#include "base/types.h"

namespace pydl {

struct Tail {
    void (*run)(const void* context, dim begin, dim end);
    const void* context;
    dim row;  // parts begin and end at multiples of it

    // The elements begin .. end of the result are finished. Called once for each element, on any thread.
    PYDL_INLINE void operator()(dim begin, dim end) const { run(context, begin, end); }
};

// The tail of the kernel that runs on this thread, for one whose rows of `row` elements it can go over; null where there
// is none. Who takes it calls it for the whole result. Only rows of kernels.def with a clause `tail:` may ask.
const Tail* take_tail(dim row);

// While it lives, the kernel that this thread runs finds `tail`; null where it shall find none, as before every kernel
// that a signal handler may run in the middle of another.
class OfferedTail {
public:
    explicit OfferedTail(const Tail* tail);
    ~OfferedTail();
    OfferedTail(const OfferedTail&) = delete;
    OfferedTail& operator=(const OfferedTail&) = delete;
    bool taken() const;

private:
    const Tail *mine_, *before_;
};

}  // namespace pydl
