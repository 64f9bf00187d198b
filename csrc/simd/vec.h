// vec<T>: one register of T on the ISA this file is compiled for, on GCC/Clang vector extensions.
// + - * / comparisons (giving mask<T>) and ?: are the compiler's own. Included only by ISA objects.
#pragma once
#include <cstdint>

#include "base/types.h"

#if !defined(PYDL_ISA)
#error "compile ISA objects with -DPYDL_ISA=<namespace of the level>"
#endif

#if defined(__AVX512F__)
#define PYDL_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define PYDL_VECTOR_BYTES 32
#else
#define PYDL_VECTOR_BYTES 16
#endif

namespace pydl::PYDL_ISA {
namespace {

template <class T>
struct vec_of {
    typedef T type __attribute__((vector_size(PYDL_VECTOR_BYTES)));
    // The same register read from memory of any alignment, aliasing any type.
    typedef T loose __attribute__((vector_size(PYDL_VECTOR_BYTES), aligned(1), may_alias));
};
template <class T>
using vec = typename vec_of<T>::type;

template <class T>
constexpr dim lanes = PYDL_VECTOR_BYTES / sizeof(T);

// The signed and unsigned integer of the same size as T.
template <int Bytes>
struct int_of_size;
template <>
struct int_of_size<4> {
    using s = std::int32_t;
    using u = std::uint32_t;
};
template <>
struct int_of_size<8> {
    using s = std::int64_t;
    using u = std::uint64_t;
};
template <class T>
using int_of = typename int_of_size<sizeof(T)>::s;
template <class T>
using uint_of = typename int_of_size<sizeof(T)>::u;

// Lanes of a comparison: all bits set or none.
template <class T>
using mask = vec<int_of<T>>;

template <class T>
PYDL_INLINE vec<T> load(const T* p) {
    return *reinterpret_cast<const typename vec_of<T>::loose*>(p);
}
template <class T>
PYDL_INLINE void store(T* p, vec<T> v) {
    *reinterpret_cast<typename vec_of<T>::loose*>(p) = v;
}

// The first n lanes (0 <= n <= lanes); the rest of a load is zero, the rest of a store untouched.
template <class T>
PYDL_INLINE vec<T> load_partial(const T* p, dim n) {
    vec<T> v = {};
    __builtin_memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(T));
    return v;
}
template <class T>
PYDL_INLINE void store_partial(T* p, vec<T> v, dim n) {
    __builtin_memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(T));
}

template <class T>
PYDL_INLINE vec<T> splat(T x) {
    return x - vec<T>{};
}

}  // namespace
}  // namespace pydl::PYDL_ISA
