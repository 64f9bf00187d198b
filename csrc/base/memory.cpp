#include "base/memory.h"

#include <cstdlib>
#include <new>

namespace pydl {
namespace {

struct Slot {
    void* data = nullptr;
    std::size_t bytes = 0;
    ~Slot() { std::free(data); }
};
thread_local Slot slots[8];

}  // namespace

void* scratch(int slot, std::size_t bytes) {
    Slot& s = slots[slot];
    if (s.bytes < bytes) {
        std::free(s.data);
        s.bytes = (bytes + 4095) / 4096 * 4096;
        s.data = std::aligned_alloc(64, s.bytes);
        if (!s.data) throw std::bad_alloc();
    }
    return s.data;
}

}  // namespace pydl
