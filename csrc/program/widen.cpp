#include "program/widen.h"

#include <algorithm>

#include "base/interrupt.h"
#include "base/memory.h"

namespace pydl {

namespace {

void launch_cast(const Kernel& kernel, const Instance& instance, word from, word to, dim count, bool whole = false) {
    Call cast;
    for (const word w : {from, to, static_cast<word>(count)}) cast.words[cast.count++] = w;
    launch(kernel, instance, cast, whole);
}

}  // namespace

Widened::Widened(const Kernel& kernel, const Instance& wide, DType narrow, Call& call, const Given& given,
                 const std::vector<word>& ready)
    : kernel_(kernel), wide_(wide), casts_(casts_of(narrow)), call_(call), ready_(ready) {
    const Recorder& r = recorder();
    if (r.dry) return;
    if (r.open) arena_ = r.open->arena();
    const auto held = [&](std::size_t i, std::size_t item) {
        dim n = 1;
        for (const dim factor : kernel.holds.shape(wide.params, given, i, item)) n *= factor;
        return n;
    };
    for (std::size_t i = 0; i < wide.params.size(); ++i) {
        const Param& p = wide.params[i];
        if (!p.generic) continue;
        if (p.kind == Kind::buffer) {
            call.words[i] = copy_of(call.words[i], p, held(i, 0), given.counts[i]);
            continue;
        }
        const word at = call.words[i];
        const std::size_t items = call.items[at];
        for (std::size_t k = 0; k < items; ++k)
            call.items[at + 1 + k] = copy_of(call.items[at + 1 + k], p, held(i, k), given.item_counts[at + 1 + k]);
    }
}

// `held`: the elements that the kernel writes and, where the row can say it, reads.
word Widened::copy_of(word given, const Param& p, dim held, dim count) {
    if (given == 0 || std::find(ready_.begin(), ready_.end(), given) != ready_.end()) return given;
    if (!p.writes && held == 0) held = count;
    const std::size_t bytes = static_cast<std::size_t>(held) * dtype_bytes(casts_.computed);
    void* wide = arena_ ? arena_->allocate(bytes) : allocate(bytes);
    copies_.push_back({given, wide, held, p.reads, p.writes});
    return reinterpret_cast<word>(wide);
}

dim Widened::launch() {
    for (const Copy& c : copies_)
        if (c.reads) launch_cast(*casts_.widening, *casts_.widen, c.narrow, reinterpret_cast<word>(c.wide), c.count);
    const dim position = pydl::launch(kernel_, wide_, call_);
    if (watch().raised) return position;  // half of a result must not reach the arrays
    for (const Copy& c : copies_)
        if (c.writes)
            launch_cast(*casts_.narrowing, *casts_.narrow, reinterpret_cast<word>(c.wide), c.narrow, c.count, c.reads);
    return position;
}

Widened::~Widened() {
    for (const Copy& c : copies_) {
        if (arena_) arena_->release(c.wide);
        else release(c.wide);
    }
}

}  // namespace pydl
