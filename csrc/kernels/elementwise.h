// Family elementwise: functions of one element, arithmetic and comparisons with broadcasting, casts.
//   x, y: n elements.   Broadcast kernels: y has `shape` (collapsed), a and b are read through their strides.
#pragma once
#include "kernels/map.h"
#include "kernels/number.h"
#include "simd/math.h"
#include "simd/trig.h"

namespace pydl::PYDL_ISA {
namespace {

// --------------------------------------------------------------------------------- one element each

#define PYDL_MAP(name, cost, expression)                                             \
    template <class T>                                                               \
    void name(In<T> x, Out<T> y, dim n) {                                            \
        map<cost, T>(n, PYDL_LAMBDA(vec<T> v) { return expression; }, y.ptr, x.ptr); \
    }
#define PYDL_TEST(name, expression)                                                               \
    template <class T>                                                                            \
    void name(In<T> x, Out<std::uint8_t> y, dim n) {                                              \
        map<light, T>(n, PYDL_LAMBDA(vec<T> v) { return expression; }, BoolOut<T>{y.ptr}, x.ptr); \
    }

PYDL_MAP(negative, light, bits_as<T>(-wrap(v)))
PYDL_MAP(absolute, light, abs(v))
PYDL_MAP(square, light, bits_as<T>(wrap(v) * wrap(v)))
// -1, 0 (of the argument's sign), 1; NaN stays.
PYDL_MAP(sign, light, select(v > 0, splat(T(1)), select(v < 0, splat(T(-1)), v)))

PYDL_MAP(sqrt, light, sqrt(v))
PYDL_MAP(rsqrt, light, 1 / sqrt(v))
PYDL_MAP(reciprocal, light, 1 / v)
PYDL_MAP(floor, light, floor(v))
PYDL_MAP(ceil, light, ceil(v))
PYDL_MAP(round, light, round(v))
PYDL_MAP(trunc, light, trunc(v))
PYDL_MAP(exp, heavy, exp(v))
PYDL_MAP(exp2, heavy, exp2(v))
PYDL_MAP(expm1, heavy, expm1(v))
PYDL_MAP(log, heavy, log(v))
PYDL_MAP(log1p, heavy, log1p(v))
PYDL_MAP(log2, heaviest, log2(v))
PYDL_MAP(log10, heaviest, log10(v))
PYDL_MAP(sin, heaviest, sin(v))
PYDL_MAP(cos, heaviest, cos(v))
PYDL_MAP(tan, heaviest, tan(v))
PYDL_MAP(arcsin, heaviest, asin(v))
PYDL_MAP(arccos, heaviest, acos(v))
PYDL_MAP(arctan, heaviest, atan(v))
PYDL_MAP(sinh, heaviest, sinh(v))
PYDL_MAP(cosh, heaviest, cosh(v))
PYDL_MAP(arcsinh, heaviest, asinh(v))
PYDL_MAP(arccosh, heaviest, acosh(v))
PYDL_MAP(arctanh, heaviest, atanh(v))
PYDL_MAP(erf, heavy, erf(v))

PYDL_TEST(isnan, v != v)
PYDL_TEST(isinf, abs(v) == splat(infinity<T>))
PYDL_TEST(isfinite, abs(v) < splat(infinity<T>))
PYDL_TEST(logical_not, v == 0)

// y[i] = value, in T's own rounding.
template <class T>
void fill(real value, Out<T> y, dim n) {
    using Bits = uint_of<T>;
    const vec<Bits> v = splat(__builtin_bit_cast(Bits, stored_as<T>(value)));
    map<light, Bits>(n, PYDL_LAMBDA() { return v; }, reinterpret_cast<Bits*>(y.ptr));
}

// min(max(v, low), high); NaN passes.
template <class T>
void clip(In<T> x, Out<T> y, real low, real high, dim n) {
    // Bounds beyond an integer type mean no bound.
    const auto bound = [](real b) {
        if constexpr (is_floating<T>) return static_cast<T>(b);
        else return number_as<T>(b);
    };
    const vec<T> vl = splat(bound(low)), vh = splat(bound(high));
    map<light, T>(n, PYDL_LAMBDA(vec<T> v) { return min(vh, max(vl, v)); }, y.ptr, x.ptr);
}
// dx = dy where low <= x <= high.
template <class T>
void clip_grad(In<T> x, In<T> dy, Out<T> dx, real low, real high, dim n) {
    const vec<T> vl = splat(static_cast<T>(low)), vh = splat(static_cast<T>(high)), zero = {};
    map<light, T>(
        n, PYDL_LAMBDA(vec<T> v, vec<T> d) { return select((v >= vl) & (v <= vh), d, zero); }, dx.ptr, x.ptr, dy.ptr);
}

// ------------------------------------------------------------------------------------------- casts

// Floats outside an integer type become its nearest end, NaN becomes 0; integers wrap.
template <class T, class U>
void cast(In<T> x, Out<U> y, dim n) {
    parallel_for(n, light, Apart{[=](dim begin, dim end) { cast_run(x.ptr + begin, y.ptr + begin, end - begin); }});
}
template <class T>
void cast_to_bool(In<T> x, Out<std::uint8_t> y, dim n) {
    map<light, T>(n, PYDL_LAMBDA(vec<T> v) { return v != 0; }, BoolOut<T>{y.ptr}, x.ptr);
}

// ------------------------------------------------------------------------------------ two operands

#define PYDL_BINARY(name, cost, expression)                                                                          \
    template <class T>                                                                                               \
    void name(In<T> a, In<T> b, Out<T> y, Dims shape, Dims stride_a, Dims stride_b) {                                \
        map_broadcast<cost, T>(                                                                                      \
            shape, PYDL_LAMBDA(vec<T> u, vec<T> v) { return expression; }, y.ptr, a.ptr, stride_a, b.ptr, stride_b); \
    }
// Of floats as vectors, of integers one by one.
#define PYDL_BINARY_OF_NUMBERS(name, of_floats, of_integers)                                                           \
    template <class T>                                                                                                 \
    void name(In<T> a, In<T> b, Out<T> y, Dims shape, Dims stride_a, Dims stride_b) {                                  \
        if constexpr (is_floating<T>)                                                                                  \
            map_broadcast<heaviest, T>(                                                                                \
                shape, PYDL_LAMBDA(vec<T> u, vec<T> v) { return of_floats; }, y.ptr, a.ptr, stride_a, b.ptr,           \
                stride_b);                                                                                             \
        else map_broadcast_each(shape, [](T u, T v) { return of_integers; }, y.ptr, a.ptr, stride_a, b.ptr, stride_b); \
    }
#define PYDL_COMPARE(name, expression)                                                                                \
    template <class T>                                                                                                \
    void name(In<T> a, In<T> b, Out<std::uint8_t> y, Dims shape, Dims stride_a, Dims stride_b) {                      \
        map_broadcast<light, T>(                                                                                      \
            shape, PYDL_LAMBDA(vec<T> u, vec<T> v) { return expression; }, BoolOut<T>{y.ptr}, a.ptr, stride_a, b.ptr, \
            stride_b);                                                                                                \
    }

PYDL_BINARY(add, light, bits_as<T>(wrap(u) + wrap(v)))
PYDL_BINARY(subtract, light, bits_as<T>(wrap(u) - wrap(v)))
PYDL_BINARY(multiply, light, bits_as<T>(wrap(u) * wrap(v)))
PYDL_BINARY(divide, light, u / v)
PYDL_BINARY(divide_no_nan, light, select(v == 0, vec<T>{}, u / v))
PYDL_BINARY(maximum, light, max_nan(u, v))
PYDL_BINARY(minimum, light, min_nan(u, v))
PYDL_BINARY(arctan2, heaviest, atan2(u, v))
PYDL_BINARY_OF_NUMBERS(power, pow(u, v), integer_power(u, v))
PYDL_BINARY_OF_NUMBERS(floor_divide, floor_divide_of(u, v), floor_quotient(u, v))
PYDL_BINARY_OF_NUMBERS(mod, mod_of(u, v), floor_remainder(u, v))

PYDL_COMPARE(equal, u == v)
PYDL_COMPARE(not_equal, u != v)
PYDL_COMPARE(greater, u > v)
PYDL_COMPARE(greater_equal, u >= v)
PYDL_COMPARE(logical_and, (u != 0) & (v != 0))
PYDL_COMPARE(logical_or, (u != 0) | (v != 0))
PYDL_COMPARE(logical_xor, (u != 0) ^ (v != 0))

template <class T>
void less(In<T> a, In<T> b, Out<std::uint8_t> y, Dims shape, Dims stride_a, Dims stride_b) {
    greater<T>(b, a, y, shape, stride_b, stride_a);
}
template <class T>
void less_equal(In<T> a, In<T> b, Out<std::uint8_t> y, Dims shape, Dims stride_a, Dims stride_b) {
    greater_equal<T>(b, a, y, shape, stride_b, stride_a);
}

// y = condition ? a : b. Values are moved only, so that T is the unsigned integer of each width.
template <class T>
void where_moved(In<std::uint8_t> condition, In<T> a, In<T> b, Out<T> y, Dims shape, Dims stride_condition,
                 Dims stride_a, Dims stride_b) {
    const dim last = shape.size() - 1;
    const bool repeat_c = !stride_condition[last], repeat_a = !stride_a[last], repeat_b = !stride_b[last];
    const auto row = [=](dim to, const dim* from, dim n) {
        if (n == 0) return;
        std::uint8_t copies_c[lanes<T>];
        T copies_a[lanes<T>], copies_b[lanes<T>];
        const Operand<std::uint8_t> pc(condition.ptr + from[0], repeat_c, copies_c);
        const Operand<T> pa(a.ptr + from[1], repeat_a, copies_a), pb(b.ptr + from[2], repeat_b, copies_b);
        dim i = 0;
        for (; i + lanes<T> <= n; i += lanes<T>)
            store(y.ptr + to + i, select(load_bool<T>(pc + i), load(pa + i), load(pb + i)));
        for (; i < n; ++i) y[to + i] = *(pc + i) ? *(pa + i) : *(pb + i);
    };
    for_rows<light>(shape, Apart{row}, stride_condition, stride_a, stride_b);
}
template <class T>
void where(In<std::uint8_t> condition, In<T> a, In<T> b, Out<T> y, Dims shape, Dims stride_condition, Dims stride_a,
           Dims stride_b) {
    using Bits = uint_of<T>;
    where_moved<Bits>(condition, {reinterpret_cast<const Bits*>(a.ptr)}, {reinterpret_cast<const Bits*>(b.ptr)},
                      {reinterpret_cast<Bits*>(y.ptr)}, shape, stride_condition, stride_a, stride_b);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
