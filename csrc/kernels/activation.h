// Family activation: y = f(x) and dx = f'(x) dy, n elements each. A gradient reads y where y suffices (then x need
// not be kept); such a parameter is called y, one that must be the input is called x.
#pragma once
#include "kernels/derivatives.h"
#include "kernels/map.h"
#include "simd/math.h"

namespace pydl::PYDL_ISA {
namespace {

template <class V>
PYDL_INLINE V softsign_slope(V x) {
    const V r = 1 / (1 + abs(x));
    return r * r;
}
// s(x) (1 + x (1 - s(x))), s the sigmoid.
template <class V>
PYDL_INLINE V silu_slope(V x) {
    const V s = sigmoid(x);
    return s * fma(x, 1 - s, splat(lane_of<V>(1)));
}
template <class V>
PYDL_INLINE V hard_sigmoid_value(V x) {
    using T = lane_of<V>;
    return min(splat(T(6)), max(V{}, x + 3)) * T(1.0 / 6);
}
template <class V>
PYDL_INLINE V hard_silu_slope(V x) {
    using T = lane_of<V>;
    return select(x > 3, splat(T(1)), select(x < -3, V{}, fma(x, splat(T(1.0 / 3)), splat(T(0.5)))));
}

// x tanh(softplus(x)) = x w / (w + 2), w = u (u + 2), u = e^x; x itself once the ratio rounds to 1.
constexpr double mish_linear = 20;
template <class V>
PYDL_INLINE V mish_value(V x) {
    using T = lane_of<V>;
    const V u = exp(min(splat(T(mish_linear)), x)), w = u * (u + 2);
    return x * (w / (w + 2));
}
template <class V>
PYDL_INLINE V mish_slope(V x) {
    using T = lane_of<V>;
    const V c = min(splat(T(mish_linear)), x), u = exp(c), w = u * (u + 2), r = 1 / (w + 2);
    // tanh' = 4 (w + 1) / (w + 2)^2, times softplus' = u / (1 + u), and w + 1 = (u + 1)^2.
    return fma(c * (4 * u * (u + 1)) * r, r, w * r);
}

// x Phi(x), Phi the normal distribution; its slope Phi(x) + x phi(x).
template <class V>
PYDL_INLINE V gelu_value(V x) {
    return x * normal_distribution(x);
}
template <class V>
PYDL_INLINE V gelu_slope(V x) {
    using T = lane_of<V>;
    // Past 40 the density is 0 and x^2 might be infinite.
    const V c = min(splat(T(40)), max(splat(T(-40)), x));
    return fma(c * T(0.3989422804014327), exp(c * c * T(-0.5)), normal_distribution(x));
}
// x (1 + tanh(u)) / 2 with u = k (x + c x^3): x sigmoid(2 u), which does not cancel for negative x.
constexpr double gelu_k = 2 * 0.7978845608028654, gelu_c = 0.044715;
template <class V>
PYDL_INLINE V gelu_tanh_value(V x) {
    using T = lane_of<V>;
    return x * sigmoid(x * fma(x * x, splat(T(gelu_k * gelu_c)), splat(T(gelu_k))));
}
template <class V>
PYDL_INLINE V gelu_tanh_slope(V x) {
    using T = lane_of<V>;
    const V c = min(splat(T(40)), max(splat(T(-40)), x)), z = c * c;
    const V s = sigmoid(c * fma(z, splat(T(gelu_k * gelu_c)), splat(T(gelu_k))));
    const V du = fma(z, splat(T(3 * gelu_k * gelu_c)), splat(T(gelu_k)));
    return s * fma(c * (1 - s), du, splat(T(1)));
}

// f(x) as `forward` over v; f'(x) dy as `backward` over v (x or y, see the row) and d.
#define PYDL_ACTIVATION(name, cost, forward, backward)                                                    \
    template <class T>                                                                                    \
    void name(In<T> x, Out<T> y, dim n) {                                                                 \
        map<cost, T>(n, PYDL_LAMBDA(vec<T> v) { return forward; }, y.ptr, x.ptr);                         \
    }                                                                                                     \
    template <class T>                                                                                    \
    void name##_grad(In<T> saved, In<T> dy, Out<T> dx, dim n) {                                           \
        map<cost, T>(n, PYDL_LAMBDA(vec<T> v, vec<T> d) { return backward; }, dx.ptr, saved.ptr, dy.ptr); \
    }

// From y.
PYDL_ACTIVATION(relu, light, max_nan(v, vec<T>{}), times_relu_slope(v, d))
PYDL_ACTIVATION(tanh, heavy, tanh(v), tanh_slope(v) * d)
PYDL_ACTIVATION(sigmoid, heavy, sigmoid(v), sigmoid_slope(v) * d)
PYDL_ACTIVATION(softplus, heavy, softplus(v), -expm1(-v) * d)
PYDL_ACTIVATION(log_sigmoid, heavy, -softplus(-v), -expm1(v) * d)

// From x.
PYDL_ACTIVATION(softsign, light, v / (1 + abs(v)), softsign_slope(v) * d)
PYDL_ACTIVATION(silu, heavy, sigmoid(v) * v, silu_slope(v) * d)
PYDL_ACTIVATION(mish, heavy, mish_value(v), mish_slope(v) * d)
PYDL_ACTIVATION(gelu, heavy, gelu_value(v), gelu_slope(v) * d)
PYDL_ACTIVATION(gelu_tanh, heavy, gelu_tanh_value(v), gelu_tanh_slope(v) * d)
PYDL_ACTIVATION(hard_sigmoid, light, hard_sigmoid_value(v), select(abs(v) < 3, d / 6, vec<T>{}))
PYDL_ACTIVATION(hard_silu, light, hard_sigmoid_value(v) * v, hard_silu_slope(v) * d)

// x above threshold, else 0; with a max_value brought between 0 and that; then negative_slope (x - threshold) is added
// below threshold. What lies at threshold has the slope of what lies below; NaN stays.
template <class T>
void relu_general(In<T> x, Out<T> y, real negative_slope, real max_value, real threshold, dim n) {
    const real bottom = max_value < __builtin_inf() ? 0 : -__builtin_inf();
    const vec<T> slope = splat(T(negative_slope)), edge = splat(T(threshold));
    const vec<T> low = splat(T(bottom)), top = splat(T(max_value));
    auto upper = PYDL_LAMBDA(vec<T> v) {
        const vec<T> above = select(v <= edge, vec<T>{}, v), raised = select(above < low, low, above);
        return select(raised >= top, top, raised);
    };
    if (negative_slope == 0) return map<light, T>(n, upper, y.ptr, x.ptr);  // 0 times -inf is not 0
    map<light, T>(
        n, PYDL_LAMBDA(vec<T> v) { return upper(v) + select(v < edge, slope * (v - edge), vec<T>{}); }, y.ptr, x.ptr);
}
template <class T>
void relu_general_grad(In<T> x, In<T> dy, Out<T> dx, real negative_slope, real max_value, real threshold, dim n) {
    const real bottom = max_value < __builtin_inf() ? 0 : -__builtin_inf();
    const vec<T> slope = splat(T(negative_slope)), edge = splat(T(threshold));
    const vec<T> low = splat(T(bottom)), top = splat(T(max_value));
    map<light, T>(
        n,
        PYDL_LAMBDA(vec<T> v, vec<T> d) {
            const vec<T> inside = select(v >= top, vec<T>{}, select(v <= low, vec<T>{}, d));
            return select(v <= edge, slope * d, inside);
        },
        dx.ptr, x.ptr, dy.ptr);
}

// x where positive, slope x elsewhere. The gradient takes x or, for slope >= 0, y.
template <class T>
void leaky_relu(In<T> x, Out<T> y, real slope, dim n) {
    const vec<T> s = splat(T(slope));
    map<light, T>(n, PYDL_LAMBDA(vec<T> v) { return select(v > 0, v, s * v); }, y.ptr, x.ptr);
}
template <class T>
void leaky_relu_grad(In<T> x, In<T> dy, Out<T> dx, real slope, dim n) {
    const vec<T> s = splat(T(slope));
    map<light, T>(n, PYDL_LAMBDA(vec<T> v, vec<T> d) { return select(v > 0, d, s * d); }, dx.ptr, x.ptr, dy.ptr);
}

// elu, selu, celu: scale x where positive, scale alpha (e^(rate x) - 1) elsewhere; scale, alpha > 0.
template <class T>
void elu(In<T> x, Out<T> y, real alpha, real scale, real rate, dim n) {
    const vec<T> s = splat(T(scale)), a = splat(T(scale * alpha)), r = splat(T(rate));
    map<heavy, T>(
        n, PYDL_LAMBDA(vec<T> v) { return select(v > 0, s * v, a * expm1(r * min(vec<T>{}, v))); }, y.ptr, x.ptr);
}
// From y: rate (y + scale alpha) below zero. x may be y itself where alpha > 0, since then they share their sign.
template <class T>
void elu_grad(In<T> x, In<T> y, In<T> dy, Out<T> dx, real alpha, real scale, real rate, dim n) {
    const vec<T> s = splat(T(scale)), a = splat(T(scale * alpha)), r = splat(T(rate));
    map<light, T>(
        n, PYDL_LAMBDA(vec<T> v, vec<T> w, vec<T> d) { return select(v > 0, s * d, (w + a) * r * d); }, dx.ptr, x.ptr,
        y.ptr, dy.ptr);
}

// Nothing between -threshold and threshold; beyond, x moved toward zero (soft) or x itself (hard).
template <class T>
void soft_shrink(In<T> x, Out<T> y, real threshold, dim n) {
    const vec<T> t = splat(T(threshold));
    map<light, T>(
        n, PYDL_LAMBDA(vec<T> v) { return select(v > t, v - t, select(v < -t, v + t, v * 0)); }, y.ptr, x.ptr);
}
template <class T>
void hard_shrink(In<T> x, Out<T> y, real threshold, dim n) {
    const vec<T> t = splat(T(threshold));
    map<light, T>(n, PYDL_LAMBDA(vec<T> v) { return select(abs(v) > t, v, v * 0); }, y.ptr, x.ptr);
}
template <class T>
void shrink_grad(In<T> x, In<T> dy, Out<T> dx, real threshold, dim n) {
    const vec<T> t = splat(T(threshold));
    map<light, T>(
        n, PYDL_LAMBDA(vec<T> v, vec<T> d) { return select(abs(v) > t, d, vec<T>{}); }, dx.ptr, x.ptr, dy.ptr);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
