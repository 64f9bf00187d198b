// Memory for arrays and kernels: 64-byte aligned blocks, and thread-local scratch for packing.
#pragma once
#include <cstddef>
#include <new>
#include <string>

#include "base/slots.h"
#include "base/types.h"

namespace pydl {

// More memory was asked for than there is, or than the system gives; what() is a sentence with the sizes.
class OutOfMemory : public std::bad_alloc {
public:
    explicit OutOfMemory(const std::string& text) : text_(text) {}
    const char* what() const noexcept override { return text_.c_str(); }

private:
    std::string text_;
};

// At least `bytes`, 64-byte aligned, contents undefined; throws OutOfMemory. `bytes` = 0 is allowed.
// Blocks of 4 MiB and more start at a huge page and ask the system for huge pages.
void* allocate(std::size_t bytes);
// The same for bytes that nobody will touch (shapes without values): what there is does not bound them.
void* allocate_untouched(std::size_t bytes);
void release(void* block);

// Bytes that this process can still fill before the system ends it: what the kernel calls available, swap included, and
// within a control group what its limit leaves beside memory that can be given back. The largest number where the
// system does not tell. `root` stands in front of /proc and /sys.
std::size_t memory_left(const std::string& root = "");
// Smaller requests are not compared with it: asking costs 60 us, as much as filling 1 MiB.
constexpr double kLargeRequest = double{1 << 26};
// Throws OutOfMemory when `what`, which takes so many bytes, is large and more than memory_left().
void require_memory(double bytes, const std::string& what);

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
