// Angles on vec<T>: sin, cos, tan, their inverses, atan2. Floats go through double and are rounded once.
//
//             float  double |            float  double
//   sin, cos   0.6    1.5    | asin, acos  0.6    3
//   tan        0.6    3     | atan, atan2 0.6    2.5
// Arguments of sin, cos, tan beyond 2^19 quarter turns are left to the C library, lane by lane.
#pragma once
#include "simd/math.h"

namespace pydl::PYDL_ISA {
namespace {

// x = n pi/2 + r with |r| <= pi/4; the last two bits of `quarter` are n mod 4. pi/2 in three parts of 33
// bits, so that the first two products are exact without fma, too.
struct angle {
    vec<double> r;
    vec<std::uint64_t> quarter;
};
PYDL_INLINE angle reduce_angle(vec<double> x) {
    constexpr double shift = format<double>::shift;
    const vec<double> n_shifted = x * 0.6366197723675814 + shift, n = n_shifted - shift;
    const vec<double> first = x - n * 1.57079632673412561417e+00, second = n * 6.07710050630396597660e-11;
    const vec<double> r = first - second;
    const vec<double> low = ((first - r) - second) - n * 2.02226624879595063154e-21;
    return {r + low, bits_as<std::uint64_t>(n_shifted)};
}
constexpr double largest_angle = 823549.0;

// Precise = 1: to the last bit of double; 0: enough for a result that is rounded to float.
template <int Precise>
PYDL_INLINE vec<double> sin_reduced(vec<double> r) {
    const vec<double> z = r * r;
    if constexpr (Precise)
        return fma(z * r,
                   poly(z, -0.1666666666666663, 0.00833333333332184, -0.00019841269829358528, 2.7557313538514323e-06,
                        -2.5050734389296655e-08, 1.5895433293280395e-10),
                   r);
    else
        return fma(z * r,
                   poly(z, -0.16666666640776154, 0.008333329302410269, -0.00019839311483649824, 2.7181141039225755e-06),
                   r);
}
template <int Precise>
PYDL_INLINE vec<double> cos_reduced(vec<double> r) {
    const vec<double> z = r * r;
    if constexpr (Precise) {
        // 1 - z/2 rounds; what it loses goes back with the small terms.
        const vec<double> half = 0.5 * z, top = 1 - half;
        return top + fma(z * z,
                         poly(z, 0.0416666666666666, -0.001388888888887447, 2.4801587289666912e-05,
                              -2.7557314399269423e-07, 2.0875728994935994e-09, -1.1359917370112023e-11),
                         (1 - top) - half);
    } else {
        return fma(z * z, poly(z, 0.04166664685462495, -0.001388736691085936, 2.4438379554877778e-05), 1 - 0.5 * z);
    }
}

// sin (Turn = 0) and cos (Turn = 1, a quarter ahead).
template <int Precise, int Turn>
PYDL_INLINE vec<double> sine(vec<double> x) {
    const angle a = reduce_angle(x);
    const auto quarter = a.quarter + Turn;
    const vec<double> y = select((quarter & 1) != 0, cos_reduced<Precise>(a.r), sin_reduced<Precise>(a.r));
    const vec<double> turned = bits_as<double>(bits_as<std::uint64_t>(y) ^ ((quarter & 2) << 62));
    // Zeros keep their sign; 0 - 0 above lost it.
    return Turn == 0 ? select(x == 0, x, turned) : turned;
}
template <int Precise>
PYDL_INLINE vec<double> tangent(vec<double> x) {
    const angle a = reduce_angle(x);
    const vec<double> s = sin_reduced<Precise>(a.r), c = cos_reduced<Precise>(a.r);
    const auto odd = (a.quarter & 1) != 0;
    return select(x == 0, x, select(odd, -c, s) / select(odd, s, c));
}

// The fast text where every angle is small, the C library for the rest.
#define PYDL_ANGLE_FUNCTION(name, text)                                                                         \
    template <int Precise>                                                                                      \
    PYDL_INLINE vec<double> name##_at(vec<double> x) {                                                          \
        const vec<double> y = text;                                                                             \
        const auto small = abs(x) < splat(largest_angle);                                                       \
        if (all(small)) return y;                                                                               \
        return select(small, y, lane_by_lane([](double a) { return __builtin_##name(a); }, x));                 \
    }                                                                                                           \
    PYDL_INLINE vec<double> name(vec<double> x) { return name##_at<1>(x); }                                     \
    PYDL_INLINE vec<float> name(vec<float> x) {                                                                 \
        return through_double([](vec<double> a) __attribute__((always_inline)) { return name##_at<0>(a); }, x); \
    }
PYDL_ANGLE_FUNCTION(sin, (sine<Precise, 0>(x)))
PYDL_ANGLE_FUNCTION(cos, (sine<Precise, 1>(x)))
PYDL_ANGLE_FUNCTION(tan, (tangent<Precise>(x)))

// Reduced to [0, tan(pi/8)] by atan(a) = pi/4 + atan((a-1)/(a+1)) = pi/2 + atan(-1/a).
PYDL_INLINE vec<double> atan(vec<double> x) {
    const vec<double> a = abs(x), one = splat(1.0), zero = {};
    const auto large = a > 2.414213562373095, middle = a > 0.41421356237309503;
    const vec<double> t = select(large, -one, select(middle, a - 1, a)) / select(large, a, select(middle, a + 1, one));
    const vec<double> z = t * t;
    const vec<double> low =
        select(large, splat(6.123233995736766e-17), select(middle, splat(3.061616997868383e-17), zero));
    const vec<double> high = select(large, splat(1.5707963267948966), select(middle, splat(0.7853981633974483), zero));
    const vec<double> y =
        fma(t * z,
            poly(z, -0.33333333333333326, 0.19999999999997098, -0.14285714285317078, 0.1111111108380562,
                 -0.09090907988545306, 0.07692279271031013, -0.06666175821168195, 0.05876528366228332,
                 -0.052152612198350184, 0.044908980324981446, -0.03318281039164812, 0.014901770977038379),
            low);
    return copysign(high + (t + y), x);
}
PYDL_INLINE vec<double> asin(vec<double> x) { return atan(x / sqrt((1 - x) * (1 + x))); }
PYDL_INLINE vec<double> acos(vec<double> x) { return 2 * atan(sqrt((1 - x) / (1 + x))); }
PYDL_INLINE vec<double> atan2(vec<double> y, vec<double> x) {
    const vec<double> ay = abs(y), ax = abs(x), zero = {};
    vec<double> ratio = select(ay == ax, splat(1.0), ay / ax);  // inf / inf is 1
    ratio = select((ay == 0) & (ax == 0), zero, ratio);
    const vec<double> a = atan(ratio);
    const vec<double> turned =
        select(bits_as<std::int64_t>(x) < 0, (3.141592653589793 - a) + 1.2246467991473532e-16, a);
    return select((x != x) | (y != y), splat(nan<double>), copysign(turned, y));
}
PYDL_THROUGH_DOUBLE(atan)
PYDL_THROUGH_DOUBLE(asin)
PYDL_THROUGH_DOUBLE(acos)
PYDL_INLINE vec<float> atan2(vec<float> y, vec<float> x) {
    return through_double([](auto a, auto b) __attribute__((always_inline)) { return atan2(a, b); }, y, x);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
