// Memory for arrays and kernels: 64-byte aligned blocks, and thread-local scratch for packing.
#pragma once
#include <cstddef>

#include "base/slots.h"
#include "base/types.h"

namespace pydl {

// At least `bytes`, 64-byte aligned, contents undefined; throws std::bad_alloc. `bytes` = 0 is allowed.
// Blocks of 4 MiB and more start at a huge page and ask the system for huge pages.
void* allocate(std::size_t bytes);
void release(void* block);

// At least `bytes`, 64-byte aligned, kept per thread and slot, grown when needed; contents are undefined.
// A slot belongs to its user until that function returns.
void* scratch_bytes(Slot slot, std::size_t bytes);
template <class T>
PYDL_INLINE T* scratch(Slot slot, dim count) {
    return static_cast<T*>(scratch_bytes(slot, static_cast<std::size_t>(count) * sizeof(T)));
}

// A set of slots. Exchanging the calling thread's for an empty one makes room for code that runs in the middle of a
// kernel and may call others.
struct ScratchSlots {
    struct Block {
        void* data = nullptr;
        std::size_t bytes = 0;
    };
    Block of[static_cast<std::size_t>(Slot::count)];

    ScratchSlots() = default;
    ScratchSlots(const ScratchSlots&) = delete;
    ScratchSlots& operator=(const ScratchSlots&) = delete;
    ~ScratchSlots();
};
void exchange_scratch(ScratchSlots& other);

}  // namespace pydl
