// Transcendental functions on vec<T>: exponentials, logarithms, hyperbolic functions, erf, pow. (simd/trig.h:
// angles.)
//
// Polynomials are minimax in relative error over the reduced range (Remez exchange in 40 digits, coefficients
// rounded to T one after another with the rest refitted). Bounds are in ulp of the result, over every
// argument: denormal, zero, infinity and NaN included; tests/test_math_bounds.py measures them on each ISA.
// "Through double" functions evaluate the double text on the two halves of a float register and round once.
//
//             float  double |            float  double |            float  double
//   exp        1.1    1.1   | log         1.1    1.1   | sinh        0.6    3
//   expm1      2      2     | log1p       1.5    1.5   | cosh        0.6    3
//   exp2       1.1    1.1   | log2, log10 0.6    2     | asinh       0.6    3
//   tanh       5      3     | softplus    2      2     | acosh       0.6    3
//   sigmoid    2.5    2.5   | erf         5      libm  | atanh, pow  0.6    3, libm
//   normal_distribution: 7, libm; tested by way of gelu.
// Baseline x86-64 has no fused multiply-add; there the bounds grow by half.
#pragma once
#include "simd/vec.h"

namespace pydl::PYDL_ISA {
namespace {

template <class T>
constexpr T infinity = static_cast<T>(__builtin_inf());
template <class T>
constexpr T nan = static_cast<T>(__builtin_nan(""));

// What is known about the format of T, and ln 2 in two parts whose first times an exponent is exact.
template <class T>
struct format;
template <>
struct format<float> {
    static constexpr int mantissa = 23, bias = 127;
    static constexpr float shift = 12582912.0f;  // 1.5 * 2^23: x + shift has round(x) in its low bits
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr float min_normal = 1.17549435e-38f;
};
template <>
struct format<double> {
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double shift = 6755399441055744.0;
    static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    static constexpr double min_normal = 2.2250738585072014e-308;
};

// c0 + c1 x + c2 x^2 + ...: Horner, one fma a coefficient.
template <class V, class... C>
PYDL_INLINE V poly(V x, lane_of<V> c0, C... rest) {
    if constexpr (sizeof...(rest) == 0) return splat(c0);
    else return fma(poly(x, rest...), x, splat(c0));
}

// f on the halves of a float register, in double.
template <class F, class... V>
PYDL_INLINE vec<float> through_double(F f, V... v) {
    return narrow({f(widen(v).low...), f(widen(v).high...)});
}
// f lane by lane, for the functions and arguments left to the C library.
template <class F, class V, class... W>
PYDL_INLINE V lane_by_lane(F f, V a, W... b) {
    for (dim i = 0; i < lanes<lane_of<V>>; ++i) a[i] = f(a[i], b[i]...);
    return a;
}

// ------------------------------------------------------------------------------------ exponentials

// 2^n for an integer n within the range of exponents, from n + shift.
template <class V>
PYDL_INLINE V power_of_two(V n_shifted) {
    using T = lane_of<V>;
    using F = format<T>;
    const auto one = splat(static_cast<uint_of<T>>(uint_of<T>{F::bias} << F::mantissa));
    return bits_as<T>((bits_as<uint_of<T>>(n_shifted) << F::mantissa) + one);
}

// v * 2^n for an integer n, rounded once; two factors, so that n may leave the range of exponents.
template <class V>
PYDL_INLINE V scale(V v, V n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(lane_of<V>) == 4) return _mm512_maskz_scalef_ps(all16, v, n);
    else return _mm512_maskz_scalef_pd(all8, v, n);
#else
    constexpr auto shift = format<lane_of<V>>::shift;
    const V half = n * 0.5 + shift;
    return v * power_of_two(half) * power_of_two((n - (half - shift)) + shift);
#endif
}

// e^r - 1 on |r| <= ln2 / 2.
PYDL_INLINE vec<float> expm1_reduced(vec<float> r) {
    return fma(r * r, poly(r, 4.9999997e-01f, 1.6666539e-01f, 4.1667756e-02f, 8.367118e-03f, 1.3835838e-03f), r);
}
PYDL_INLINE vec<double> expm1_reduced(vec<double> r) {
    return fma(r * r,
               poly(r, 0.5, 0.16666666666666677, 0.04166666666666669, 0.008333333333321744, 0.0013888888888883145,
                    0.00019841269885353643, 2.480158730384781e-05, 2.755724526844e-06, 2.7557308148125054e-07,
                    2.5108611247651756e-08, 2.0900245498936287e-09),
               r);
}
// e^r on |r| <= ln2 / 2.
PYDL_INLINE vec<float> exp_reduced(vec<float> r) {
    return fma(r * r, poly(r, 4.9999994e-01f, 1.6666523e-01f, 4.1668344e-02f, 8.3692e-03f, 1.382038e-03f), r) + 1;
}
PYDL_INLINE vec<double> exp_reduced(vec<double> r) {
    return fma(r * r,
               poly(r, 0.5, 0.16666666666666688, 0.041666666666666824, 0.008333333333313892, 0.0013888888888777791,
                    0.00019841269903382152, 2.4801587559796713e-05, 2.7557228661339857e-06, 2.75570671095995e-07,
                    2.5113942064924616e-08, 2.097793597613463e-09),
               r) +
           1;
}

// x = n ln2 + r with |r| <= ln2 / 2; n comes as n + shift.
template <class V>
struct reduced {
    V n_shifted, n, r;
};
template <class V>
PYDL_INLINE reduced<V> reduce_exp(V x) {
    using F = format<lane_of<V>>;
    constexpr lane_of<V> log2e = 1.4426950408889634;
    const V n_shifted = fma(x, splat(log2e), splat(F::shift));
    const V n = n_shifted - F::shift;
    const V r = fma(n, splat(-F::ln2_low), fma(n, splat(-F::ln2_high), x));
    return {n_shifted, n, r};
}

template <class V>
PYDL_INLINE V exp(V x) {
    // Past these the result is infinity, and zero; within, n stays small enough for scale(). NaN passes.
    constexpr lane_of<V> top = sizeof(lane_of<V>) == 4 ? 89.0 : 710.0;
    constexpr lane_of<V> bottom = sizeof(lane_of<V>) == 4 ? -105.0 : -746.0;
    const auto a = reduce_exp(min(splat(top), max(splat(bottom), x)));
    return scale(exp_reduced(a.r), a.n);
}

// e^(x + rest) for a `rest` that x is too coarse to hold, in the range of normal numbers and 0: the bound of exp() for
// the exact sum.
PYDL_INLINE vec<float> exp_sum(vec<float> x, vec<float> rest) {
    using F = format<float>;
    const vec<float> n = (fma(x, splat(1.44269504f), splat(F::shift))) - F::shift;
    return scale(exp_reduced(fma(n, splat(-F::ln2_high), x) + fma(n, splat(-F::ln2_low), rest)), n);
}

// 2^x.
template <class V>
PYDL_INLINE V exp2(V x) {
    using T = lane_of<V>;
    constexpr T limit = sizeof(T) == 4 ? 160.0 : 1100.0;
    const V clamped = min(splat(limit), max(splat(-limit), x));
    const V n = (clamped + format<T>::shift) - format<T>::shift;
    return scale(exp_reduced((clamped - n) * T(0.6931471805599453)), n);
}

// e^x - 1 = 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)): exact in the second term, no overflow at n = 128 (1024).
template <class V>
PYDL_INLINE V expm1(V x) {
    using T = lane_of<V>;
    constexpr T top = sizeof(T) == 4 ? 88.8 : 709.8, bottom = sizeof(T) == 4 ? -20.0 : -40.0;
    const auto a = reduce_exp(min(splat(top), max(splat(bottom), x)));
    const V half = power_of_two(a.n_shifted - 1);
    const V y = fma(half, expm1_reduced(a.r), half - T(0.5)) * 2;
    // Small arguments are their own result; this keeps -0 and denormals.
    return select(abs(x) < splat(T(sizeof(T) == 4 ? 1e-10 : 1e-20)), x, y);
}

// -------------------------------------------------------------------------------------- logarithms

// log(1 + f) + e ln2 on sqrt(1/2) <= 1 + f <= sqrt(2).
PYDL_INLINE vec<float> log_reduced(vec<float> f, vec<float> e) {
    using F = format<float>;
    const vec<float> f2 = f * f;
    vec<float> y = poly(f, 3.333333e-01f, -2.5000823e-01f, 2.0001261e-01f, -1.6623323e-01f, 1.4200929e-01f,
                        -1.3159743e-01f, 1.2767634e-01f, -7.643491e-02f) *
                   (f2 * f);
    y = fma(e, splat(F::ln2_low), y);
    y = fma(f2, splat(-0.5f), y);
    return fma(e, splat(F::ln2_high), f + y);
}
// With s = f / (2 + f): log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + s^2 R(s^2)).
PYDL_INLINE vec<double> log_reduced(vec<double> f, vec<double> e) {
    using F = format<double>;
    const vec<double> s = f / (f + 2), z = s * s, half_square = 0.5 * f * f;
    const vec<double> r = z * poly(z, 0.6666666666666666, 0.4000000000000492, 0.285714285694122, 0.2222222260683859,
                                   0.18181778362631368, 0.15386988664591847, 0.1325214971195196, 0.13234782661299294);
    const vec<double> low = fma(s, half_square + r, e * F::ln2_low);
    return e * F::ln2_high - ((half_square - low) - f);
}

// x = m 2^e with sqrt(1/2) <= m < sqrt(2), for a positive normal x.
template <class V>
struct split {
    V m, e;
};
template <class V>
PYDL_INLINE split<V> split_exponent(V x) {
    using T = lane_of<V>;
    using F = format<T>;
    using U = uint_of<T>;
    constexpr U root_half = sizeof(T) == 4 ? U{0x3f3504f3} : static_cast<U>(0x3fe6a09e667f3bcd);
    constexpr U one = U{F::bias} << F::mantissa, digits = (U{1} << F::mantissa) - 1;
    const auto u = bits_as<U>(x) + (one - root_half);
    // An exponent as the last digits of 2^mantissa: converts without an instruction for it.
    constexpr T base = sizeof(T) == 4 ? 8388608.0 : 4503599627370496.0;
    const V e = bits_as<T>((u >> F::mantissa) | bits_as<U>(splat(base))) - (base + F::bias);
    return {bits_as<T>((u & digits) + root_half), e};
}

// The value at 0, below it, at infinity and NaN, where the reduction means nothing.
template <class V>
PYDL_INLINE V log_edges(V x, V y) {
    using T = lane_of<V>;
    const auto ordinary = (x > 0) & (x < splat(infinity<T>));
    if (all(ordinary)) return y;
    const V edge = select(x == 0, splat(-infinity<T>), select(x > 0, x, splat(nan<T>)));
    return select(ordinary, y, edge);
}

template <class V>
PYDL_INLINE V log(V x) {
    using T = lane_of<V>;
    constexpr T up = sizeof(T) == 4 ? 8388608.0 : 4503599627370496.0;
    const auto denormal = x < splat(format<T>::min_normal);
    const auto a = split_exponent(select(denormal, x * up, x));
    const V e = select(denormal, a.e - T(format<T>::mantissa), a.e);
    return log_edges(x, log_reduced(a.m - 1, e));
}

// log(1 + x): what 1 + x rounds away is carried into the reduced argument.
template <class V>
PYDL_INLINE V log1p(V x) {
    using T = lane_of<V>;
    using F = format<T>;
    const V u = x + 1, x_kept = u - 1;
    const V lost = (x - x_kept) + (1 - (u - x_kept));
    const auto a = split_exponent(u);
    // 2^-e; of no consequence, but still a number, where e exceeds the largest exponent of a factor.
    const V unit = power_of_two(F::shift - min(a.e, splat(T(F::bias))));
    const V y = log_edges(u, log_reduced(fma(lost, unit, a.m - 1), a.e));
    return select(abs(x) < splat(T(sizeof(T) == 4 ? 1e-10 : 1e-20)), x, y);
}

PYDL_INLINE vec<double> log2(vec<double> x) {
    const vec<double> zero = {};
    const auto denormal = x < format<double>::min_normal;
    const auto a = split_exponent(select(denormal, x * 4503599627370496.0, x));
    const vec<double> e = select(denormal, a.e - 52, a.e);
    return log_edges(x, fma(log_reduced(a.m - 1, zero), splat(1.4426950408889634), e));
}
PYDL_INLINE vec<double> log10(vec<double> x) {
    const vec<double> zero = {};
    const auto denormal = x < format<double>::min_normal;
    const auto a = split_exponent(select(denormal, x * 4503599627370496.0, x));
    const vec<double> e = select(denormal, a.e - 52, a.e);
    // log10(2) in two parts, the first of 32 bits.
    const vec<double> low = fma(log_reduced(a.m - 1, zero), splat(0.4342944819032518), e * 3.694239077158931e-13);
    return log_edges(x, fma(e, splat(0.30102999566361177), low));
}

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|).
PYDL_INLINE vec<float> softplus(vec<float> x) {
    const vec<float> zero = {}, u = exp(-abs(x));
    // log1p on [0, 1]: u P(u).
    const vec<float> tail =
        u * poly(u, 1.0e+00f, -4.9999988e-01f, 3.3332714e-01f, -2.4988864e-01f, 1.9899623e-01f, -1.6135171e-01f,
                 1.24795295e-01f, -8.323896e-02f, 4.211485e-02f, -1.3691701e-02f, 2.0845556e-03f);
    return max(zero, x) + tail;
}
PYDL_INLINE vec<double> softplus(vec<double> x) {
    const vec<double> zero = {};
    return max(zero, x) + log1p(exp(-abs(x)));
}

// ------------------------------------------------------------------------- hyperbolic and sigmoidal

// x P(x^2) / Q(x^2) up to 9.02, from where tanh rounds to 1. All coefficients positive, so nothing cancels. One
// division beside 11 fma: the divider works while the multipliers do. (Through expm1 it would be 2.5 ulp instead of
// 5, and 308 us instead of 250 for 1M on one AVX-512 core.)
PYDL_INLINE vec<float> tanh(vec<float> x) {
    const vec<float> c = copysign(min(splat(9.02f), abs(x)), x);
    const vec<float> z = c * c;
    const vec<float> p = c * poly(z, 1.0e+00f, 1.3785365e-01f, 4.008511e-03f, 3.1589112e-05f, 5.0762406e-08f);
    const vec<float> q = poly(z, 1.0e+00f, 4.71187e-01f, 2.773752e-02f, 4.2074115e-04f, 1.6174894e-06f, 7.3744727e-10f);
    return min(splat(1.0f), max(splat(-1.0f), p / q));
}
PYDL_INLINE vec<double> tanh(vec<double> x) {
    const vec<double> e = expm1(2 * min(splat(20.0), abs(x)));
    return copysign(e / (e + 2), x);
}

// 1 / (1 + e^-x). Where e^-x leaves the normal numbers, as e^x / (1 + e^x): relative accuracy into the denormals,
// off the common path (1M floats on one AVX-512 core: 295 us, 343 with the second form alone; AVX2 425, 659).
template <class V>
PYDL_INLINE V sigmoid(V x) {
    using T = lane_of<V>;
    constexpr T edge = sizeof(T) == 4 ? 87.0 : 708.0;
    if (any(x < splat(-edge))) {
        const V u = exp(-abs(x));
        return select(x < 0, u, splat(T(1))) / (u + 1);
    }
    const auto a = reduce_exp(max(splat(-edge), -x));
    return 1 / fma(power_of_two(a.n_shifted), exp_reduced(a.r), splat(T(1)));
}

PYDL_INLINE vec<double> sinh(vec<double> x) {
    const vec<double> a = abs(x), e = expm1(min(splat(40.0), a)), h = exp(0.5 * a);
    return copysign(select(a > 40, 0.5 * h * h, 0.5 * (e + e / (e + 1))), x);
}
PYDL_INLINE vec<double> cosh(vec<double> x) {
    const vec<double> a = abs(x), e = exp(min(splat(40.0), a)), h = exp(0.5 * a);
    return select(a > 40, 0.5 * h * h, 0.5 * e + 0.5 / e);
}
PYDL_INLINE vec<double> asinh(vec<double> x) {
    const vec<double> a = abs(x), s = a * a;
    const vec<double> y = log1p(a + s / (sqrt(s + 1) + 1));
    return copysign(select(a > 1e8, log(a) + 0.6931471805599453, y), x);
}
PYDL_INLINE vec<double> acosh(vec<double> x) {
    const vec<double> t = x - 1;
    const vec<double> y = select(x > 1e8, log(x) + 0.6931471805599453, log1p(t + sqrt(t * (t + 2))));
    return select(x < 1, splat(nan<double>), y);
}
PYDL_INLINE vec<double> atanh(vec<double> x) {
    const vec<double> a = abs(x);
    return copysign(0.5 * log1p(2 * a / (1 - a)), x);
}

// -------------------------------------------------------------------------------------- erf and pow

// x P(x^2) / Q(x^2) up to 3.925, from where erf rounds to 1.
PYDL_INLINE vec<float> erf(vec<float> x) {
    const vec<float> c = copysign(min(splat(3.925f), abs(x)), x);
    const vec<float> z = c * c;
    const vec<float> p =
        c * poly(z, 1.1283792e+00f, 1.924579e-01f, 5.5581246e-02f, 4.1943574e-03f, 4.05693e-04f, 6.5867935e-06f);
    const vec<float> q =
        poly(z, 1.0e+00f, 5.038948e-01f, 1.1722196e-01f, 1.6212652e-02f, 1.4074354e-03f, 7.109807e-05f, 2.4889698e-07f);
    return min(splat(1.0f), max(splat(-1.0f), p / q));
}
PYDL_INLINE vec<double> erf(vec<double> x) {
    return lane_by_lane([](double a) { return __builtin_erf(a); }, x);
}

// The normal distribution: the probability of a value below x. Its lower tail keeps its digits: with a = |x| the tail is
// e^(-a^2 / 2) t P(t), t = 1 / (1 + 0.35 a). P is fitted; a^2 = h^2 + (a - h)(a + h), h the upper half of a, so that
// h^2 is exact.
PYDL_INLINE vec<float> normal_distribution(vec<float> x) {
    const vec<float> a = min(splat(14.5f), abs(x));  // from where the tail rounds to 0
    const vec<float> h = bits_as<float>(bits_as<std::uint32_t>(a) & 0xfffff000u);
    const vec<float> density = exp_sum(-0.5f * (h * h), -0.5f * ((a - h) * (a + h)));
    const vec<float> t = 1 / fma(a, splat(0.35f), splat(1.0f));
    const vec<float> tail =
        density * (t * poly(t, 1.39621306e-01f, 1.39863537e-01f, 1.19821114e-01f, 1.05553243e-01f, -2.32142212e-02f,
                            1.59322555e-01f, -2.55841618e-01f, 1.44032230e-01f, -2.91581631e-02f));
    return select(x < 0, tail, 1 - tail);
}
PYDL_INLINE vec<double> normal_distribution(vec<double> x) {
    return lane_by_lane([](double a) { return 0.5 * __builtin_erfc(a * -0.7071067811865476); }, x);
}

// x^y by the C library's rules: 1 where y is 0 or x is 1; NaN for negative x and fractional y.
PYDL_INLINE vec<double> pow_of_floats(vec<double> x, vec<double> y) {
    const vec<double> a = abs(x), one = splat(1.0), zero = {};
    vec<double> r = exp(y * log(a));
    const auto odd = (trunc(y) == y) & (trunc(0.5 * y) != 0.5 * y);
    r = select((bits_as<std::int64_t>(x) < 0) & odd, -r, r);
    r = select((x < zero) & (a < infinity<double>)&(trunc(y) != y), splat(nan<double>), r);
    r = select((a == one) & (abs(y) == splat(infinity<double>)), one, r);
    return select((y == zero) | (x == one), one, r);
}
PYDL_INLINE vec<float> pow(vec<float> x, vec<float> y) {
    return through_double([](auto a, auto b) __attribute__((always_inline)) { return pow_of_floats(a, b); }, x, y);
}
PYDL_INLINE vec<double> pow(vec<double> x, vec<double> y) {
    return lane_by_lane([](double a, double b) { return __builtin_pow(a, b); }, x, y);
}

#define PYDL_THROUGH_DOUBLE(f)                                                                       \
    PYDL_INLINE vec<float> f(vec<float> x) {                                                         \
        return through_double([](vec<double> a) __attribute__((always_inline)) { return f(a); }, x); \
    }
PYDL_THROUGH_DOUBLE(log2)
PYDL_THROUGH_DOUBLE(log10)
PYDL_THROUGH_DOUBLE(sinh)
PYDL_THROUGH_DOUBLE(cosh)
PYDL_THROUGH_DOUBLE(asinh)
PYDL_THROUGH_DOUBLE(acosh)
PYDL_THROUGH_DOUBLE(atanh)

}  // namespace
}  // namespace pydl::PYDL_ISA
