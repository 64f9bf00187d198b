#include "base/tail.h"

namespace pydl {

namespace {
thread_local const Tail* offered = nullptr;
}

const Tail* take_tail(dim row) {
    const Tail* tail = offered;
    if (!tail || row % tail->row != 0) return nullptr;
    offered = nullptr;
    return tail;
}

OfferedTail::OfferedTail(const Tail* tail) : mine_(tail), before_(offered) { offered = tail; }
OfferedTail::~OfferedTail() { offered = before_; }
bool OfferedTail::taken() const { return mine_ && !offered; }

}  // namespace pydl
