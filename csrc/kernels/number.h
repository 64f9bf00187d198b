// What an element of one type becomes in another, and division with remainder: no argument may trap.
#pragma once
#include "simd/math.h"

namespace pydl::PYDL_ISA {
namespace {

template <class T>
constexpr T largest_integer = static_cast<T>(sizeof(T) == 1 ? 0xff : (uint_of<T>{1} << (8 * sizeof(T) - 1)) - 1);
template <>
inline constexpr std::uint8_t largest_integer<std::uint8_t> = 0xff;
template <class T>
constexpr T smallest_integer = static_cast<T>(-largest_integer<T> - 1);
template <>
inline constexpr std::uint8_t smallest_integer<std::uint8_t> = 0;

// From a float to an integer type: the nearest end outside it, 0 for NaN. From one integer type to another: wrapped. To a
// float type: rounded.
template <class To, class From>
PYDL_INLINE To number_as(From x) {
    if constexpr (is_floating<From> && !is_floating<To>) {
        // The ends as From: exact, or one above the largest.
        constexpr From low = static_cast<From>(smallest_integer<To>), high = static_cast<From>(largest_integer<To>);
        return x >= high ? largest_integer<To> : x >= low ? static_cast<To>(x) : x < low ? smallest_integer<To> : To{0};
    } else {
        return static_cast<To>(x);
    }
}

// y[i] = x[i] as the other type. Narrow types come and go as what they are computed as; one rounding in all.
template <class From, class To>
PYDL_INLINE void cast_run(const From* x, To* y, dim n) {
    constexpr dim block = 256;
    if constexpr ((is_narrow<From> || is_narrow<To>) && same<compute<From>, compute<To>>) {
        for (dim i = 0; i < n; i += lanes<To>) store_upto(y + i, load_upto(x + i, n - i), n - i);
    } else if constexpr (is_narrow<From>) {
        compute<From> between[block];
        for (dim i = 0; i < n; i += block) {
            const dim part = n - i < block ? n - i : block;
            cast_run(x + i, between, part);
            cast_run(between, y + i, part);
        }
    } else if constexpr (is_narrow<To>) {
        compute<To> between[block];
        for (dim i = 0; i < n; i += block) {
            const dim part = n - i < block ? n - i : block;
            for (dim j = 0; j < part; ++j) {
                if constexpr (sizeof(From) == 1) between[j] = x[i + j];
                else between[j] = round_to_odd(static_cast<double>(x[i + j]));
            }
            cast_run(between, y + i, part);
        }
    } else {
        for (dim i = 0; i < n; ++i) y[i] = number_as<To>(x[i]);
    }
}

// ------------------------------------------------------------------------------- integers, one by one

// a / b toward minus infinity and its remainder, of b's sign; 0 for b = 0. The smallest integer over -1 wraps.
template <class T>
PYDL_INLINE T floor_quotient(T a, T b) {
    if (b == 0) return 0;
    if (b == -1) return static_cast<T>(uint_of<T>{0} - static_cast<uint_of<T>>(a));
    const T q = a / b;
    return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}
template <class T>
PYDL_INLINE T floor_remainder(T a, T b) {
    if (b == 0 || b == -1) return 0;
    const T r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
// a^b by squaring, modulo 2^bits; a negative power of an integer is rounded toward zero.
template <class T>
PYDL_INLINE T integer_power(T a, T b) {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    uint_of<T> base = static_cast<uint_of<T>>(a), y = 1;
    for (; b > 0; b >>= 1, base *= base)
        if (b & 1) y *= base;
    return static_cast<T>(y);
}

// --------------------------------------------------------------------------------- floats, as vectors

PYDL_INLINE float remainder_toward_zero(float a, float b) { return __builtin_fmodf(a, b); }
PYDL_INLINE double remainder_toward_zero(double a, double b) { return __builtin_fmod(a, b); }

// The remainder of b's sign, as Python's % and NumPy's mod.
template <class V>
PYDL_INLINE V mod_of(V a, V b) {
    using T = lane_of<V>;
    const V r = lane_by_lane([](T u, T v) { return remainder_toward_zero(u, v); }, a, b);
    return select(r == 0, copysign(r, b), select((r < 0) != (b < 0), r + b, r));
}
// floor(a / b), without the rounding of a / b: a less its remainder toward zero, over b, is an integer up to rounding.
// That remainder is finite where b is not, and the quotient then 0 or -1.
template <class V>
PYDL_INLINE V floor_divide_of(V a, V b) {
    using T = lane_of<V>;
    const V r = lane_by_lane([](T u, T v) { return remainder_toward_zero(u, v); }, a, b);
    const V ratio = a / b, toward_zero = (a - r) / b;
    const V q = select((r != 0) & ((r < 0) != (b < 0)), toward_zero - 1, toward_zero);
    return select(b == 0, ratio, select(q == 0, copysign(q, ratio), round(q)));
}

}  // namespace
}  // namespace pydl::PYDL_ISA
