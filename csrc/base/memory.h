// Memory for arrays and kernels: 64-byte aligned blocks, and thread-local scratch for packing.
#pragma once
#include <cstddef>

namespace pydl {

// At least `bytes`, 64-byte aligned, contents undefined; throws std::bad_alloc. `bytes` = 0 is allowed.
// Blocks of 4 MiB and more start at a huge page and ask the system for huge pages.
void* allocate(std::size_t bytes);
void release(void* block);

// At least `bytes`, 64-byte aligned, kept per thread and slot (0..7), grown when needed; contents are undefined.
// A slot belongs to its user until that function returns: functions that call each other use different slots.
void* scratch(int slot, std::size_t bytes);

// A set of slots. Exchanging the calling thread's for an empty one makes room for code that runs in the middle of a
// kernel and may call others.
struct ScratchSlots {
    struct Slot {
        void* data = nullptr;
        std::size_t bytes = 0;
    };
    Slot of[8];

    ScratchSlots() = default;
    ScratchSlots(const ScratchSlots&) = delete;
    ScratchSlots& operator=(const ScratchSlots&) = delete;
    ~ScratchSlots();
};
void exchange_scratch(ScratchSlots& other);

}  // namespace pydl
