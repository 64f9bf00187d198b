// The vocabulary of kernel signatures: who reads, who writes, what is a size.
// Every parameter is one trivially copyable 8-byte word, so that a kernel call can be stored as
// (function, words) and run again. Constexpr and always inlined: safe to include in ISA objects.
#pragma once
#include <cstdint>

namespace pydl {

using dim = std::int64_t;  // a size, an index, a flag
using real = double;       // a scalar attribute that never changes between replays
using word = std::uint64_t;

#define PYDL_INLINE [[gnu::always_inline]] inline

// A buffer the kernel reads. Null is not allowed.
template <class T>
struct In {
    using value_type = T;
    const T* ptr;
    PYDL_INLINE constexpr operator const T*() const { return ptr; }
};

// A buffer the kernel writes completely and does not read first.
template <class T>
struct Out {
    using value_type = T;
    T* ptr;
    PYDL_INLINE constexpr operator T*() const { return ptr; }
};

// A buffer the kernel reads and writes.
template <class T>
struct InOut {
    using value_type = T;
    T* ptr;
    PYDL_INLINE constexpr operator T*() const { return ptr; }
};

// As In, Out, InOut, but Python may pass None, which arrives as a null pointer.
template <class T>
struct OptIn {
    using value_type = T;
    const T* ptr;
    PYDL_INLINE constexpr operator const T*() const { return ptr; }
};
template <class T>
struct OptOut {
    using value_type = T;
    T* ptr;
    PYDL_INLINE constexpr operator T*() const { return ptr; }
};

// A list of integers (shape, strides, permutation). Points at [count, item 0, item 1, ...].
struct Dims {
    const dim* head;
    PYDL_INLINE constexpr dim size() const { return head[0]; }
    PYDL_INLINE constexpr dim operator[](dim i) const { return head[1 + i]; }
    PYDL_INLINE constexpr const dim* begin() const { return head + 1; }
};

// A list of buffers, e.g. all parameters of a model: List<InOut<T>>. Points at [count, ptr 0, ...].
template <class Access>
struct List {
    using access_type = Access;
    using value_type = typename Access::value_type;
    const word* head;
    PYDL_INLINE constexpr dim size() const { return static_cast<dim>(head[0]); }
    PYDL_INLINE Access operator[](dim i) const { return Access{reinterpret_cast<decltype(Access::ptr)>(head[1 + i])}; }
};

}  // namespace pydl
