// Softmax, its logarithm and log-sum-exp over the middle axis of (outer, n, inner), and their gradients.
// exp is taken of x - max, so nothing overflows; a row with NaN, or with nothing but -inf, gives NaN.
#pragma once
#include "kernels/rows.h"

namespace pydl::PYDL_ISA {
namespace {

enum class Normal { probabilities, logarithms, total };

template <class T>
constexpr T minus_infinity = static_cast<T>(-__builtin_huge_val());

// Four registers of maxima: one alone waits for itself. NaN may be lost; it comes back through exp.
template <class T>
T plain_max(const T* x, dim n) {
    constexpr dim L = lanes<T>;
    vec<T> a[4];
    for (auto& v : a) v = splat(minus_infinity<T>);
    dim k = 0;
    for (; k + 4 * L <= n; k += 4 * L) PYDL_UNROLL for (int u = 0; u < 4; ++u) a[u] = max(a[u], load(x + k + u * L));
    Run<T>{n - k}.each([&](dim at, dim live) __attribute__((always_inline)) {
        a[0] = max(a[0], load_or(x + k + at, live, minus_infinity<T>));
    });
    return horizontal_max(max(max(a[0], a[1]), max(a[2], a[3])));
}

// y = exp(x - m) where `keep`; returns the sum, blocks of it added in double.
template <bool keep, class T>
double exp_sum(const T* x, T* y, dim n, T m) {
    const vec<T> shift = splat(m);
    double total = 0;
    for (dim k = 0; k < n; k += run_block) {
        vec<T> s = {};
        Run<T>{least(run_block, n - k)}.each([&](dim at, dim live) __attribute__((always_inline)) {
            const vec<T> e = exp(load_or(x + k + at, live, minus_infinity<T>) - shift);
            if constexpr (keep) store_upto(y + k + at, e, live);
            s += e;
        });
        total += static_cast<double>(horizontal_sum(s));
    }
    return total;
}

template <Normal what, class T>
struct Normalise {
    T* totals;  // (outer, inner), for Normal::total

    PYDL_INLINE void column(Column<T> w, const T* const* in, T* y, dim group, dim groups) const {
        const T* x = in[0];
        vec<T> m = splat(minus_infinity<T>);
        w.each([&](dim at, dim live) __attribute__((always_inline)) { m = max(m, load_upto(x + at, live)); });
        if constexpr (what == Normal::total) m = select(m - m == 0, m, vec<T>{});
        const vec<T> s = w.sum([&](dim block, Column<T> b) __attribute__((always_inline)) {
            vec<T> t = {};
            b.each([&](dim at, dim live) __attribute__((always_inline)) {
                const vec<T> e = exp(load_upto(x + block + at, live) - m);
                if constexpr (what == Normal::probabilities) store_upto(y + block + at, e, live);
                t += e;
            });
            return t;
        });
        if constexpr (what == Normal::total) {
            store_upto(totals + group, m + log(s), groups);
        } else if constexpr (what == Normal::probabilities) {
            const vec<T> r = T(1) / s;
            w.each([&](dim at, dim live)
                       __attribute__((always_inline)) { store_upto(y + at, load_upto(y + at, live) * r, live); });
        } else {
            const vec<T> log_s = log(s);
            w.each([&](dim at, dim live) __attribute__((always_inline)) {
                store_upto(y + at, (load_upto(x + at, live) - m) - log_s, live);
            });
        }
    }

    PYDL_INLINE void run(dim n, const T* const* in, T* y, dim group, bool whole) const {
        const T* x = in[0];
        T m = over_run<T>(
            n, whole, [=](dim b, dim e) { return plain_max(x + b, e - b); }, [](T a, T b) { return most(a, b); });
        if constexpr (what == Normal::total) m = m - m == 0 ? m : T(0);
        const double s = over_run<double>(
            n, whole,
            [=](dim b, dim e) { return exp_sum<what == Normal::probabilities>(x + b, y ? y + b : y, e - b, m); },
            [](double a, double b) { return a + b; });
        if constexpr (what == Normal::total) {
            totals[group] = m + log(splat(static_cast<T>(s)))[0];
            return;
        }
        const vec<T> r = splat(static_cast<T>(1 / s)), shift = splat(m), log_s = log(splat(static_cast<T>(s)));
        over_run<dim>(
            n, whole,
            [=](dim b, dim e) {
                Run<T>{e - b}.each([&](dim at, dim live) __attribute__((always_inline)) {
                    T* p = y + b + at;
                    if constexpr (what == Normal::probabilities) store_upto(p, load_upto(p, live) * r, live);
                    else store_upto(p, (load_upto(x + b + at, live) - shift) - log_s, live);
                });
                return dim{0};
            },
            [](dim, dim) { return dim{0}; });
    }
};

// x -> y (outer, n, inner): exp(x) / sum of exp(x).
template <class T>
void softmax(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    const T* const inputs[] = {x.ptr};
    by_group(inputs, y.ptr, outer, n, inner, Normalise<Normal::probabilities, T>{nullptr});
}

// The gradients of softmax and log_softmax: in = (y, dy).
//   softmax      dx = y (dy - sum of y dy)
//   log_softmax  dx = dy - exp(y) * sum of dy
template <bool of_logarithms, class T>
struct NormaliseGrad {
    PYDL_INLINE static vec<T> weigh(vec<T> y, vec<T> dy) { return of_logarithms ? dy : y * dy; }
    PYDL_INLINE static vec<T> combine(vec<T> y, vec<T> dy, vec<T> s) {
        if constexpr (of_logarithms) return fma(-exp(y), s, dy);
        else return y * (dy - s);
    }
    PYDL_INLINE void column(Column<T> w, const T* const* in, T* dx, dim, dim) const {
        const T *y = in[0], *dy = in[1];
        const vec<T> s = w.sum([&](dim block, Column<T> b) __attribute__((always_inline)) {
            vec<T> t = {};
            b.each([&](dim at, dim live) __attribute__((always_inline)) {
                t += weigh(load_upto(y + block + at, live), load_upto(dy + block + at, live));
            });
            return t;
        });
        w.each([&](dim at, dim live) __attribute__((always_inline)) {
            store_upto(dx + at, combine(load_upto(y + at, live), load_upto(dy + at, live), s), live);
        });
    }
    PYDL_INLINE void run(dim n, const T* const* in, T* dx, dim, bool whole) const {
        const T *y = in[0], *dy = in[1];
        const double total = over_run<double>(
            n, whole,
            [=](dim b, dim e) {
                return Run<T>{e - b}.sum([&](dim at, dim live) __attribute__((always_inline)) {
                    return weigh(load_upto(y + b + at, live), load_upto(dy + b + at, live));
                });
            },
            [](double a, double b) { return a + b; });
        const vec<T> s = splat(static_cast<T>(total));
        over_run<dim>(
            n, whole,
            [=](dim b, dim e) {
                Run<T>{e - b}.each([&](dim at, dim live) __attribute__((always_inline)) {
                    store_upto(dx + b + at, combine(load_upto(y + b + at, live), load_upto(dy + b + at, live), s),
                               live);
                });
                return dim{0};
            },
            [](dim, dim) { return dim{0}; });
    }
};

template <class T>
void softmax_grad(In<T> y, In<T> dy, Out<T> dx, dim outer, dim n, dim inner) {
    const T* const inputs[] = {y.ptr, dy.ptr};
    by_group(inputs, dx.ptr, outer, n, inner, NormaliseGrad<false, T>{});
}

// As softmax over the values whose mask is not 0; the others count as -1e9, so that their probability is 0 unless
// no value is left, when all are equally likely. x, mask -> y (outer, n, inner); the gradient is softmax_grad,
// and 0 where the mask is (where y is, but for groups without a value).
template <class T>
void masked_softmax(In<T> x, In<std::uint8_t> mask, Out<T> y, dim outer, dim n, dim inner) {
    parallel_for(outer * n * inner, stream_task, [&](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) y[i] = mask[i] ? x[i] : T(-1e9);
    });
    const T* const inputs[] = {y.ptr};
    by_group(inputs, y.ptr, outer, n, inner, Normalise<Normal::probabilities, T>{nullptr});
}

// x -> y (outer, n, inner): x - log of the sum of exp(x).
template <class T>
void log_softmax(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    const T* const inputs[] = {x.ptr};
    by_group(inputs, y.ptr, outer, n, inner, Normalise<Normal::logarithms, T>{nullptr});
}
template <class T>
void log_softmax_grad(In<T> y, In<T> dy, Out<T> dx, dim outer, dim n, dim inner) {
    const T* const inputs[] = {y.ptr, dy.ptr};
    by_group(inputs, dx.ptr, outer, n, inner, NormaliseGrad<true, T>{});
}

// x (outer, n, inner), n >= 1 -> y (outer, inner): log of the sum of exp(x).
template <class T>
void logsumexp(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    const T* const inputs[] = {x.ptr};
    by_group(inputs, static_cast<T*>(nullptr), outer, n, inner, Normalise<Normal::total, T>{y.ptr});
}
// dx = dy * exp(x - y); y, dy (outer, inner).
template <class T>
void logsumexp_grad(In<T> x, In<T> y, In<T> dy, Out<T> dx, dim outer, dim n, dim inner) {
    spread(outer, n, inner, dx.ptr, exp_task,
           [=](auto p) __attribute__((always_inline)) { return p.of_group(dy) * exp(p.of(x) - p.of_group(y)); });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
