// The register types of the ISA this file is compiled for: vec<T>, its lanes, its masks, its bits. Included only by ISA
// objects, through simd/vec.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>  // std::index_sequence: a type, no code

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "base/dtypes.h"

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

// Whether fma() rounds once. False only on baseline x86-64, where it is a multiplication and an addition.
#if defined(__FMA__) || defined(__aarch64__)
#define PYDL_FUSED 1
#else
#define PYDL_FUSED 0
#endif

namespace pydl::PYDL_ISA {
namespace {

template <class T>
struct vec_of {
    typedef T type __attribute__((vector_size(PYDL_VECTOR_BYTES)));
    // The same register read from memory of any alignment, aliasing any type.
    typedef T loose __attribute__((vector_size(PYDL_VECTOR_BYTES), aligned(1), may_alias));
};
// One register of T as it is computed: for a narrow type that of compute<T>.
template <class T>
using vec = typename vec_of<compute<T>>::type;

template <class T>
constexpr dim lanes = PYDL_VECTOR_BYTES / sizeof(compute<T>);

// A vector of another length: the half of a register, the bytes that belong to a register of floats.
template <class T, dim N>
struct short_vec_of {
    typedef T type __attribute__((vector_size(N * sizeof(T))));
    typedef T loose __attribute__((vector_size(N * sizeof(T)), aligned(1), may_alias));
};
template <class T, dim N>
using short_vec = typename short_vec_of<T, N>::type;

// The lane type of a vector type, for functions that deduce the vector.
template <class T>
struct unref {
    using type = T;
};
template <class T>
struct unref<T&> {
    using type = T;
};
template <class V>
using lane_of = typename unref<decltype(V{}[0])>::type;

template <class A, class B>
constexpr bool same = false;
template <class A>
inline constexpr bool same<A, A> = true;

// The signed and unsigned integer of the same size as T.
template <int Bytes>
struct int_of_size;
template <>
struct int_of_size<1> {
    using s = std::int8_t;
    using u = std::uint8_t;
};
template <>
struct int_of_size<2> {
    using s = std::int16_t;
    using u = std::uint16_t;
};
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

template <class T>
constexpr bool is_floating = false;
template <>
inline constexpr bool is_floating<float> = true;
template <>
inline constexpr bool is_floating<double> = true;

// What a number is added and multiplied as: an integer as one without a sign, whose overflow is defined, so that it wraps
// as NumPy's does.
template <class T>
struct wrapping_of {
    using type = uint_of<T>;
};
template <class T>
    requires is_floating<compute<T>>
struct wrapping_of<T> {
    using type = T;
};
template <class T>
using wrapping = typename wrapping_of<T>::type;

#if defined(__AVX512F__)
// The intrinsics without a mask read an uninitialised register in GCC 12's header, which then warns; with all
// mask bits set the same instruction comes out.
constexpr __mmask16 all16 = 0xffff;
constexpr __mmask8 all8 = 0xff;
#endif

// Before a loop over an array of registers: it is written out, since an array that is indexed at run time lies in
// memory. The longest such array has 16.
#define PYDL_UNROLL _Pragma("GCC unroll 16")

// Lanes of a comparison: all bits set or none.
template <class T>
using mask = vec<int_of<compute<T>>>;

}  // namespace
}  // namespace pydl::PYDL_ISA
