#include "base/memory.h"

#include <cstdlib>
#include <new>
#include <utility>

#include "base/fence.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pydl {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

thread_local ScratchSlots slots;

}  // namespace

void* allocate(std::size_t bytes) {
    const bool huge = bytes >= 2 * kHugePage;
    const std::size_t unit = huge ? kHugePage : kLine;
    // Whole huge pages only: rounding a block of 4.1 MiB up to 6 MiB reserves addresses, not memory.
    const std::size_t size = round_up(bytes ? bytes : 1, unit);
    void* block = std::aligned_alloc(unit, size);
    if (!block) throw std::bad_alloc();
    forbid(static_cast<char*>(block) + bytes, size - bytes);
#if defined(__linux__)
    if (huge) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return block;
}

void release(void* block) { std::free(block); }

ScratchSlots::~ScratchSlots() {
    for (Block& b : of) release(b.data);
}

void exchange_scratch(ScratchSlots& other) { std::swap(slots.of, other.of); }

void* scratch_bytes(Slot slot, std::size_t bytes) {
    ScratchSlots::Block& s = slots.of[static_cast<std::size_t>(slot)];
    if (s.bytes < bytes) {
        release(s.data);
        s.data = nullptr;
        s.bytes = 0;
        const std::size_t size = round_up(bytes, 4096);
        s.data = allocate(size);
        s.bytes = size;
    }
    allow(s.data, bytes);
    forbid(static_cast<char*>(s.data) + bytes, s.bytes - bytes);
    return s.data;
}

}  // namespace pydl
