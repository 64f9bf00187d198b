// Memory for kernels: thread-local scratch for packing.
#pragma once
#include <cstddef>

namespace pydl {

// At least `bytes`, 64-byte aligned, kept per thread and slot (0..7); contents are undefined.
void* scratch(int slot, std::size_t bytes);

}  // namespace pydl
