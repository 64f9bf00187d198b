// Family optimizer: update rules, one launch for all parameters of a model. (kernels/multi_tensor.h: the rest.)
//
// Lists run over the tensors of the model: params[i], grads[i] and the slots have sizes[i] elements. What changes
// between replays is read at run time: learning_rate (1,), iteration (1,) = number of finished calls, scales
// (one factor per tensor for its gradient: clipping, loss scale; null: none). With gradient accumulation a rule acts
// in every `every`-th call only, so its step number is iteration / every + 1; else every = 1.
// decays[i] = 0 exempts tensor i from weight decay.
//
// Elementwise work is bound by memory (Adam moves 28 bytes a parameter): one pass, no temporary.
#pragma once
#include "base/types.h"
#include "kernels/multi_tensor.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace pydl::PYDL_ISA {
namespace {

// base^n, exact to a few ulp: the libm call costs more than these few multiplications.
PYDL_INLINE double power(double base, std::int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, base *= base)
        if (n & 1) result *= base;
    return result;
}

// What every rule has in common. `rule(i)` gives the function (at, weight, gradient) -> new weight of tensor i, which
// loads and stores the slots itself. The gradient arrives scaled and clipped to [-clip, clip], NaN kept; the weight
// arrives decayed: w - w * decay * learning_rate.
template <class T, class Rule>
PYDL_INLINE void update(List<InOut<T>> params, List<In<T>> grads, Dims sizes, Dims decays, In<T> learning_rate,
                        OptIn<T> scales, real clip, real decay, Rule rule) {
    const vec<T> limit = splat(static_cast<T>(clip));
    const T rate_decay = static_cast<T>(learning_rate[0] * decay);
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        T* w = params[i];
        const T* g = grads[i];
        const auto next = rule(i);
        if (!scales.ptr && clip == __builtin_inf() && !(decay != 0 && decays[i])) {
            each_register<T>(begin, end, [=](auto at) __attribute__((always_inline)) {
                at.store(w, next(at, at.load(w), at.load(g)));
            });
            return;
        }
        const vec<T> scale = splat(scales.ptr ? scales[i] : T{1});
        const vec<T> loss = splat(decays[i] ? -rate_decay : T{0});
        each_register<T>(begin, end, [=](auto at) __attribute__((always_inline)) {
            const vec<T> weight = at.load(w), gradient = at.load(g) * scale;
            at.store(w, next(at, fma(weight, loss, weight), min(limit, max(-limit, gradient))));
        });
    });
}

// m + (x - m) * share
template <class V>
PYDL_INLINE V toward(V m, V x, V share) {
    return fma(x - m, share, m);
}

// ------------------------------------------------------------------------------------------- rules

// m = momentum m - lr g; w += m, with nesterov w += momentum m - lr g. momentum = 0: w -= lr g, no slots.
template <class T>
void sgd(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> momentums, Dims sizes, Dims decays,
         In<T> learning_rate, In<std::int64_t> iteration, dim every, OptIn<T> scales, real clip, real decay,
         real momentum, dim nesterov) {
    if (!is_due(iteration, every)) return;
    const vec<T> rate = splat(-learning_rate[0]), keep = real_splat<T>(momentum);
    if (momentum == 0) {
        update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim) {
            return [=](auto, vec<T> w, vec<T> g) __attribute__((always_inline)) { return fma(g, rate, w); };
        });
        return;
    }
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pm = momentums[i];
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> step = g * rate, m = fma(at.load(pm), keep, step);
            at.store(pm, m);
            return w + (nesterov ? fma(m, keep, step) : m);
        };
    });
}

// v = rho v + (1 - rho) g^2; centered: a = rho a + (1 - rho) g, d = v - a^2, else d = v;
// step = lr g / sqrt(d + epsilon); momentum > 0: m = momentum m + step, w -= m; else w -= step.
template <class T>
void rmsprop(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> velocities, List<InOut<T>> momentums,
             List<InOut<T>> averages, Dims sizes, Dims decays, In<T> learning_rate, In<std::int64_t> iteration,
             dim every, OptIn<T> scales, real clip, real decay, real rho, real momentum, real epsilon, dim centered) {
    if (!is_due(iteration, every)) return;
    const vec<T> rate = splat(learning_rate[0]), keep = real_splat<T>(rho), share = real_splat<T>(1 - rho);
    const vec<T> eps = real_splat<T>(epsilon), push = real_splat<T>(momentum);
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pv = velocities[i];
        T* const pm = momentum > 0 ? momentums[i].ptr : nullptr;
        T* const pa = centered ? averages[i].ptr : nullptr;
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> v = fma(at.load(pv), keep, share * (g * g));
            at.store(pv, v);
            vec<T> d = v;
            if (pa) {
                const vec<T> a = fma(at.load(pa), keep, share * g);
                at.store(pa, a);
                d = fma(-a, a, v);
            }
            vec<T> step = rate * g / sqrt(d + eps);
            if (pm) {
                step = fma(at.load(pm), push, step);
                at.store(pm, step);
            }
            return w - step;
        };
    });
}

// m += (1 - beta_1)(g - m); v += (1 - beta_2)(g^2 - v); w -= alpha m / (sqrt(v) + epsilon) with
// alpha = lr sqrt(1 - beta_2^t) / (1 - beta_1^t). Tried and dropped: no writes where m, v and g are all 0, the words of
// an embedding that no text had yet (100,000 x 64, two Zen 5 cores: 2.4 ms with and without). amsgrad: the running maximum of v in place of v.
template <class T>
void adam(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> momentums, List<InOut<T>> velocities,
          List<InOut<T>> maxima, Dims sizes, Dims decays, In<T> learning_rate, In<std::int64_t> iteration, dim every,
          OptIn<T> scales, real clip, real decay, real beta_1, real beta_2, real epsilon, dim amsgrad) {
    if (!is_due(iteration, every)) return;
    const std::int64_t t = step_number(iteration, every);
    const vec<T> alpha = real_splat<T>(-learning_rate[0] * root(1 - power(beta_2, t)) / (1 - power(beta_1, t)));
    const vec<T> share_1 = real_splat<T>(1 - beta_1), share_2 = real_splat<T>(1 - beta_2);
    const vec<T> eps = real_splat<T>(epsilon);
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pm = momentums[i];
        T* const pv = velocities[i];
        T* const px = amsgrad ? maxima[i].ptr : nullptr;
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> m = toward(at.load(pm), g, share_1);
            vec<T> v = toward(at.load(pv), g * g, share_2);
            at.store(pm, m);
            at.store(pv, v);
            if (px) {
                v = max(at.load(px), v);
                at.store(px, v);
            }
            return w + m * alpha / (sqrt(v) + eps);
        };
    });
}

// m += (1 - beta_1)(g - m); u = max(beta_2 u, |g|); w -= lr / (1 - beta_1^t) m / (u + epsilon).
template <class T>
void adamax(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> momentums, List<InOut<T>> norms, Dims sizes,
            Dims decays, In<T> learning_rate, In<std::int64_t> iteration, dim every, OptIn<T> scales, real clip,
            real decay, real beta_1, real beta_2, real epsilon) {
    if (!is_due(iteration, every)) return;
    const std::int64_t t = step_number(iteration, every);
    const vec<T> alpha = real_splat<T>(-learning_rate[0] / (1 - power(beta_1, t)));
    const vec<T> share = real_splat<T>(1 - beta_1), keep = real_splat<T>(beta_2), eps = real_splat<T>(epsilon);
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pm = momentums[i];
        T* const pu = norms[i];
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> m = toward(at.load(pm), g, share), u = max(keep * at.load(pu), abs(g));
            at.store(pm, m);
            at.store(pu, u);
            return w + alpha * m / (u + eps);
        };
    });
}

// The momentum schedule of Nadam, u_t = beta_1 (1 - 0.96^t / 2).
PYDL_INLINE double nadam_momentum(double beta_1, std::int64_t t) { return beta_1 * (1 - 0.5 * power(0.96, t)); }

// product (1,) *= u_t: launched once per step, before nadam.
template <class T>
void nadam_product(InOut<T> product, In<std::int64_t> iteration, dim every, real beta_1) {
    if (is_due(iteration, every))
        product[0] = static_cast<T>(product[0] * nadam_momentum(beta_1, step_number(iteration, every)));
}

// m, v as Adam; m^ = u_{t+1} m / (1 - product u_{t+1}) + (1 - u_t) g / (1 - product), v^ = v / (1 - beta_2^t);
// w -= lr m^ / (sqrt(v^) + epsilon).
template <class T>
void nadam(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> momentums, List<InOut<T>> velocities, In<T> product,
           Dims sizes, Dims decays, In<T> learning_rate, In<std::int64_t> iteration, dim every, OptIn<T> scales,
           real clip, real decay, real beta_1, real beta_2, real epsilon) {
    if (!is_due(iteration, every)) return;
    const std::int64_t t = step_number(iteration, every);
    const double now = nadam_momentum(beta_1, t), then = nadam_momentum(beta_1, t + 1);
    const double rate = -learning_rate[0];
    const vec<T> from_m = real_splat<T>(rate * then / (1 - product[0] * then));
    const vec<T> from_g = real_splat<T>(rate * (1 - now) / (1 - product[0]));
    const vec<T> correct = real_splat<T>(1 / (1 - power(beta_2, t)));
    const vec<T> share_1 = real_splat<T>(1 - beta_1), share_2 = real_splat<T>(1 - beta_2);
    const vec<T> eps = real_splat<T>(epsilon);
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pm = momentums[i];
        T* const pv = velocities[i];
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> m = toward(at.load(pm), g, share_1), v = toward(at.load(pv), g * g, share_2);
            at.store(pm, m);
            at.store(pv, v);
            return w + fma(from_m, m, from_g * g) / (sqrt(v * correct) + eps);
        };
    });
}

// a += g^2; w -= lr g / sqrt(a + epsilon).
template <class T>
void adagrad(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> accumulators, Dims sizes, Dims decays,
             In<T> learning_rate, In<std::int64_t> iteration, dim every, OptIn<T> scales, real clip, real decay,
             real epsilon) {
    if (!is_due(iteration, every)) return;
    const vec<T> rate = splat(learning_rate[0]), eps = real_splat<T>(epsilon);
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pa = accumulators[i];
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> a = fma(g, g, at.load(pa));
            at.store(pa, a);
            return w - rate * g / sqrt(a + eps);
        };
    });
}

// a = rho a + (1 - rho) g^2; d = -g sqrt(x + epsilon) / sqrt(a + epsilon); x = rho x + (1 - rho) d^2; w += lr d.
template <class T>
void adadelta(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> squared_grads, List<InOut<T>> squared_steps,
              Dims sizes, Dims decays, In<T> learning_rate, In<std::int64_t> iteration, dim every, OptIn<T> scales,
              real clip, real decay, real rho, real epsilon) {
    if (!is_due(iteration, every)) return;
    const vec<T> rate = splat(learning_rate[0]), keep = real_splat<T>(rho), share = real_splat<T>(1 - rho);
    const vec<T> eps = real_splat<T>(epsilon);
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pa = squared_grads[i];
        T* const px = squared_steps[i];
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> a = fma(at.load(pa), keep, share * (g * g)), x = at.load(px);
            const vec<T> step = -g * sqrt((x + eps) / (a + eps));
            at.store(pa, a);
            at.store(px, fma(x, keep, share * (step * step)));
            return fma(rate, step, w);
        };
    });
}

// n' = n + g^2; p = -learning_rate_power; z += g + 2 shrinkage w - (n'^p - n^p) / lr w;
// w = (clip(z, -l1, l1) - z) / (n'^p / lr + 2 l2 + beta / lr). A rate of zero, at the end of a decay, has no 1 / lr: such a
// step leaves w, n and z as they are.
template <class T>
void ftrl(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> accumulators, List<InOut<T>> linears, Dims sizes,
          Dims decays, In<T> learning_rate, In<std::int64_t> iteration, dim every, OptIn<T> scales, real clip,
          real decay, real learning_rate_power, real l1, real l2, real shrinkage, real beta) {
    if (!is_due(iteration, every)) return;
    if (!__builtin_isfinite(T(1) / learning_rate[0])) return;
    const vec<T> per_rate = real_splat<T>(1.0 / learning_rate[0]), bound = real_splat<T>(l1);
    const vec<T> ridge = real_splat<T>(2 * l2 + beta / learning_rate[0]), shrink = real_splat<T>(2 * shrinkage);
    const vec<T> p = real_splat<T>(-learning_rate_power);
    const bool square_root = learning_rate_power == -0.5;
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pn = accumulators[i];
        T* const pz = linears[i];
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> n = at.load(pn), n_next = fma(g, g, n);
            const vec<T> power_next = square_root ? sqrt(n_next) : pow(n_next, p);
            const vec<T> power_now = square_root ? sqrt(n) : pow(n, p);
            const vec<T> pull = fma(shrink, w, g) - (power_next - power_now) * per_rate * w;
            const vec<T> z = at.load(pz) + pull;
            at.store(pn, n_next);
            at.store(pz, z);
            return (min(bound, max(-bound, z)) - z) / fma(power_next, per_rate, ridge);
        };
    });
}

// w -= lr sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g.
template <class T>
void lion(List<InOut<T>> params, List<In<T>> grads, List<InOut<T>> momentums, Dims sizes, Dims decays,
          In<T> learning_rate, In<std::int64_t> iteration, dim every, OptIn<T> scales, real clip, real decay,
          real beta_1, real beta_2) {
    if (!is_due(iteration, every)) return;
    const vec<T> rate = splat(learning_rate[0]), zero = {};
    const vec<T> keep_1 = real_splat<T>(beta_1), share_1 = real_splat<T>(1 - beta_1);
    const vec<T> keep_2 = real_splat<T>(beta_2), share_2 = real_splat<T>(1 - beta_2);
    update<T>(params, grads, sizes, decays, learning_rate, scales, clip, decay, [=](dim i) {
        T* const pm = momentums[i];
        return [=](auto at, vec<T> w, vec<T> g) __attribute__((always_inline)) {
            const vec<T> m = at.load(pm), c = fma(m, keep_1, share_1 * g);
            at.store(pm, fma(m, keep_2, share_2 * g));
            return c > zero ? w - rate : c < zero ? w + rate : w + c;  // c is zero or NaN
        };
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
