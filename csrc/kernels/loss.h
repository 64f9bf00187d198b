// Losses: one value per row (group) from targets t and predictions p, and the gradient with respect to p.
// Elementwise losses come as a value and its slope; their mean (or sum) over the row is fused. Losses that need
// something of the whole row first (its softmax, its norm) leave it in a and b for their gradient.
#pragma once
#include "kernels/rows.h"

namespace pydl::PYDL_ISA {
namespace {

// --------------------------------------------------------------- mean over a row of f.value(t, p)

template <Text text, class T, class F>
struct RowLoss {
    F f;
    T scale;
    T* loss;

    PYDL_INLINE void column(Column<T> w, const T* const* in, T*, dim group, dim groups) const {
        const T *t = in[0], *p = in[1];
        const vec<T> s = w.sum([&](dim block, Column<T> b) __attribute__((always_inline)) {
            vec<T> part = {};
            b.each([&](dim at, dim live) __attribute__((always_inline)) {
                part += f.value(load_upto(t + block + at, live), load_upto(p + block + at, live));
            });
            return part;
        });
        store_upto(loss + group, s * scale, groups);
    }
    PYDL_INLINE void run(dim n, const T* const* in, T*, dim group, bool whole) const {
        const T *t = in[0], *p = in[1];
        const double total = over_run<double>(
            n, whole,
            [=, this](dim begin, dim end) {
                return Run<T>{end - begin}.template sum<text>([&](dim at, dim live) __attribute__((always_inline)) {
                    return f.value(load_upto(t + begin + at, live), load_upto(p + begin + at, live));
                });
            },
            [](double x, double y) { return x + y; });
        loss[group] = static_cast<T>(total * static_cast<double>(scale));
    }
};

// t, p (rows, n) -> loss (rows) = scale * sum of f.value.
template <Text text, class T, class F>
PYDL_INLINE void row_loss(In<T> t, In<T> p, Out<T> loss, dim rows, dim n, double scale, const F& f) {
    const T* const inputs[] = {t.ptr, p.ptr};
    by_group(inputs, static_cast<T*>(nullptr), rows, n, 1, RowLoss<text, T, F>{f, static_cast<T>(scale), loss.ptr});
}
// dp (rows, n) = dy (rows) * scale * f.slope.
template <class T, class F>
PYDL_INLINE void row_loss_grad(In<T> t, In<T> p, In<T> dy, Out<T> dp, dim rows, dim n, double scale, const F& f) {
    const vec<T> s = splat(static_cast<T>(scale));
    spread(rows, n, 1, dp.ptr, exp_task, [=](auto place) __attribute__((always_inline)) {
        return f.slope(place.of(t.ptr), place.of(p.ptr)) * (place.of_group(dy.ptr) * s);
    });
}

PYDL_INLINE double mean_over(dim n) { return 1.0 / static_cast<double>(n); }

// The kernel `name` and its gradient from Formula<T>{parameter}.
#define PYDL_LOSS(name, Formula, text, scale)                                  \
    template <class T>                                                         \
    void name(In<T> t, In<T> p, Out<T> loss, dim rows, dim n) {                \
        row_loss<Text::text>(t, p, loss, rows, n, scale, Formula<T>{});        \
    }                                                                          \
    template <class T>                                                         \
    void name##_grad(In<T> t, In<T> p, In<T> dy, Out<T> dp, dim rows, dim n) { \
        row_loss_grad(t, p, dy, dp, rows, n, scale, Formula<T>{});             \
    }
#define PYDL_LOSS_WITH(name, Formula, text, scale)                                               \
    template <class T>                                                                           \
    void name(In<T> t, In<T> p, Out<T> loss, real parameter, dim rows, dim n) {                  \
        row_loss<Text::text>(t, p, loss, rows, n, scale, Formula<T>{static_cast<T>(parameter)}); \
    }                                                                                            \
    template <class T>                                                                           \
    void name##_grad(In<T> t, In<T> p, In<T> dy, Out<T> dp, real parameter, dim rows, dim n) {   \
        row_loss_grad(t, p, dy, dp, rows, n, scale, Formula<T>{static_cast<T>(parameter)});      \
    }

// -1, 0, 1 as the sign of v.
template <class T>
PYDL_INLINE vec<T> sign_of(vec<T> v) {
    const vec<T> zero = {}, one = splat(T(1));
    return select(v > zero, one, select(v < zero, -one, v - v));
}

template <class T>
struct SquaredError {  // (p - t)^2
    using V = vec<T>;
    PYDL_INLINE V value(V t, V p) const { return (p - t) * (p - t); }
    PYDL_INLINE V slope(V t, V p) const { return T(2) * (p - t); }
};
PYDL_LOSS(mean_squared_error, SquaredError, brief, mean_over(n))

template <class T>
struct AbsoluteError {  // |p - t|; slope 0 at 0
    using V = vec<T>;
    PYDL_INLINE V value(V t, V p) const { return abs(p - t); }
    PYDL_INLINE V slope(V t, V p) const { return sign_of<T>(p - t); }
};
PYDL_LOSS(mean_absolute_error, AbsoluteError, brief, mean_over(n))

template <class T>
struct RelativeError {  // |p - t| / max(|t|, epsilon), in per cent
    using V = vec<T>;
    T epsilon;
    PYDL_INLINE V value(V t, V p) const { return abs(p - t) / max(splat(epsilon), abs(t)); }
    PYDL_INLINE V slope(V t, V p) const { return sign_of<T>(p - t) / max(splat(epsilon), abs(t)); }
};
PYDL_LOSS_WITH(mean_absolute_percentage_error, RelativeError, brief, 100 * mean_over(n))

template <class T>
struct SquaredLogarithmicError {  // (log(1 + p) - log(1 + t))^2, both at least epsilon
    using V = vec<T>;
    T epsilon;
    PYDL_INLINE V difference(V t, V p) const {
        const V least_value = splat(epsilon);
        return log1p(max(least_value, p)) - log1p(max(least_value, t));
    }
    PYDL_INLINE V value(V t, V p) const {
        const V d = difference(t, p);
        return d * d;
    }
    PYDL_INLINE V slope(V t, V p) const {
        return select(p < splat(epsilon), V{}, T(2) * difference(t, p) / (p + T(1)));
    }
};
PYDL_LOSS_WITH(mean_squared_logarithmic_error, SquaredLogarithmicError, lengthy, mean_over(n))

template <class T>
struct Huber {  // e^2 / 2 up to |e| = delta, delta |e| - delta^2 / 2 beyond
    using V = vec<T>;
    T delta;
    PYDL_INLINE V value(V t, V p) const {
        const V e = abs(p - t), d = splat(delta), half = splat(T(0.5));
        return select(e <= d, half * e * e, d * e - half * d * d);
    }
    PYDL_INLINE V slope(V t, V p) const {
        const V e = p - t, d = splat(delta);
        return max(-d, min(d, e));  // NaN in e stays
    }
};
PYDL_LOSS_WITH(huber, Huber, brief, mean_over(n))

template <class T>
struct LogCosh {  // log(cosh(p - t))
    using V = vec<T>;
    // With u = exp(a) - 1: cosh(a) = 1 + u^2 / (2 (1 + u)), exact for small a; from 20 on cosh(a) = exp(a) / 2.
    PYDL_INLINE V value(V t, V p) const {
        const V e = abs(p - t), a = min(splat(T(20)), e), u = expm1(a);
        return (e - a) + log1p(u * u / (T(2) * (T(1) + u)));
    }
    PYDL_INLINE V slope(V t, V p) const { return tanh(p - t); }
};
PYDL_LOSS(log_cosh, LogCosh, lengthy, mean_over(n))

template <class T>
struct Hinge {  // max(1 - t p, 0)
    using V = vec<T>;
    PYDL_INLINE V value(V t, V p) const { return max(V{}, T(1) - t * p); }
    PYDL_INLINE V slope(V t, V p) const { return select(T(1) - t * p > 0, -t, V{}); }
};
PYDL_LOSS(hinge, Hinge, brief, mean_over(n))

template <class T>
struct SquaredHinge {  // max(1 - t p, 0)^2
    using V = vec<T>;
    PYDL_INLINE V value(V t, V p) const {
        const V d = max(V{}, T(1) - t * p);
        return d * d;
    }
    PYDL_INLINE V slope(V t, V p) const { return T(-2) * t * max(V{}, T(1) - t * p); }
};
PYDL_LOSS(squared_hinge, SquaredHinge, brief, mean_over(n))

// t (n) -> -1 and 1 if all of t is 0 or 1, else t itself.
template <class T>
void hinge_labels(In<T> t, Out<T> signed_t, dim n) {
    bool binary = true;
    for (dim i = 0; i < n; ++i) binary &= t[i] == T(0) || t[i] == T(1);
    for (dim i = 0; i < n; ++i) signed_t[i] = binary ? T(2) * t[i] - T(1) : t[i];
}

template <class T>
struct Divergence {  // t log(t / p), both within [epsilon, 1]
    using V = vec<T>;
    T epsilon;
    PYDL_INLINE V inside(V v) const { return max(splat(epsilon), min(splat(T(1)), v)); }
    PYDL_INLINE V value(V t, V p) const { return inside(t) * log(inside(t) / inside(p)); }
    PYDL_INLINE V slope(V t, V p) const { return select((p < splat(epsilon)) | (p > T(1)), V{}, -inside(t) / p); }
};
PYDL_LOSS_WITH(kl_divergence, Divergence, lengthy, 1.0)

template <class T>
struct Poisson {  // p - t log(p + epsilon)
    using V = vec<T>;
    T epsilon;
    PYDL_INLINE V value(V t, V p) const { return p - t * log(p + epsilon); }
    PYDL_INLINE V slope(V t, V p) const { return T(1) - t / (p + epsilon); }
};
PYDL_LOSS_WITH(poisson, Poisson, lengthy, mean_over(n))

template <class T>
struct BinaryProbability {  // -t log(p) - (1 - t) log(1 - p), p within [epsilon, 1 - epsilon]
    using V = vec<T>;
    T epsilon;
    PYDL_INLINE V value(V t, V p) const {
        const V q = max(splat(epsilon), min(splat(T(1) - epsilon), p));
        return (t - T(1)) * log(T(1) - q) - t * log(q);
    }
    PYDL_INLINE V slope(V t, V p) const {
        const mask<T> clipped = (p < splat(epsilon)) | (p > splat(T(1) - epsilon));
        return select(clipped, V{}, (p - t) / (p * (T(1) - p)));
    }
};
PYDL_LOSS_WITH(binary_crossentropy, BinaryProbability, lengthy, mean_over(n))

template <class T>
struct BinaryLogit {  // the same of p = sigmoid(z): log(1 + exp(z)) - t z
    using V = vec<T>;
    PYDL_INLINE V value(V t, V z) const { return max(V{}, z) - t * z + log1p(exp(-abs(z))); }
    PYDL_INLINE V slope(V t, V z) const { return sigmoid(z) - t; }
};
PYDL_LOSS(binary_crossentropy_logits, BinaryLogit, lengthy, mean_over(n))

#undef PYDL_LOSS
#undef PYDL_LOSS_WITH

// ------------------------------------------------------------------ losses of a row as a whole

// Sums and extrema of a group, written once for both layouts: `columns` keeps a value per lane, a run is folded
// across the lanes and the result spread to all of them.
template <class T>
struct ColumnGroup {
    using V = vec<T>;
    Column<T> w;
    dim group, groups;
    template <Text = Text::brief, class F>
    PYDL_INLINE V sum(const F& f) const {
        return w.sum([&](dim block, Column<T> b) __attribute__((always_inline)) {
            V part = {};
            b.each([&](dim at, dim live) __attribute__((always_inline)) { part += f(block + at, live); });
            return part;
        });
    }
    template <class F>
    PYDL_INLINE V largest(const F& f) const {
        V m = splat(-infinity<T>);
        w.each([&](dim at, dim live) __attribute__((always_inline)) { m = max(m, f(at, live)); });
        return m;
    }
    PYDL_INLINE void put(T* to, V v) const { store_upto(to + group, v, groups); }
    // x of the value number label[group], 0 where the label is `ignored`.
    PYDL_INLINE V pick(const T* x, const std::int32_t* label, dim ignored) const {
        V v = {};
        PYDL_UNROLL for (dim i = 0; i < lanes<T>; ++i) if (i < groups && label[group + i] != ignored) v[i] =
            x[label[group + i] * w.stride + i];
        return v;
    }
    PYDL_INLINE mask<T> valid(const std::int32_t* label, dim ignored) const {
        mask<T> m = {};
        PYDL_UNROLL for (dim i = 0; i < lanes<T>; ++i) m[i] = i < groups && label[group + i] != ignored ? -1 : 0;
        return m;
    }
};
template <class T>
struct RunGroup {
    using V = vec<T>;
    dim n, group;
    template <Text text = Text::brief, class F>
    PYDL_INLINE V sum(const F& f) const {
        return splat(static_cast<T>(Run<T>{n}.template sum<text>(f)));
    }
    template <class F>
    PYDL_INLINE V largest(const F& f) const {
        const V none = splat(-infinity<T>);
        V m = none;
        Run<T>{n}.each([&](dim at, dim live) __attribute__((always_inline)) {
            const V v = f(at, live);
            m = max(m, live == lanes<T> ? v : select(first_lanes<T>(live), v, none));
        });
        return splat(horizontal_max(m));
    }
    PYDL_INLINE void put(T* to, V v) const { to[group] = v[0]; }
    PYDL_INLINE V pick(const T* x, const std::int32_t* label, dim ignored) const {
        return splat(label[group] != ignored ? x[label[group]] : T(0));
    }
    PYDL_INLINE mask<T> valid(const std::int32_t* label, dim ignored) const {
        return splat(static_cast<int_of<T>>(label[group] != ignored ? -1 : 0));
    }
};

// formula(group, t, p) for every group of t, p (outer, n, inner).
template <class Formula>
struct GroupLoss {
    Formula formula;
    template <class T>
    PYDL_INLINE void column(Column<T> w, const T* const* in, T*, dim group, dim groups) const {
        formula(ColumnGroup<T>{w, group, groups}, in);
    }
    template <class T>
    PYDL_INLINE void run(dim n, const T* const* in, T*, dim group, bool) const {
        formula(RunGroup<T>{n, group}, in);
    }
};
template <int count, class T, class Formula>
PYDL_INLINE void group_loss(const T* const (&inputs)[count], dim outer, dim n, dim inner, const Formula& formula) {
    by_group(inputs, static_cast<T*>(nullptr), outer, n, inner, GroupLoss<Formula>{formula});
}

#define PYDL_FORMULA [=](const auto& g, const T* const* in) __attribute__((always_inline))
#define PYDL_AT [&](dim at, dim live) __attribute__((always_inline))
#define PYDL_PLACE [=](auto place) __attribute__((always_inline))

// loss = max(max((1 - t) p) - sum(t p) + 1, 0). a = max((1 - t) p), b = 1 / how many attain it, 0 where loss = 0.
template <class T>
void categorical_hinge(In<T> t, In<T> p, Out<T> a, Out<T> b, Out<T> loss, dim outer, dim n, dim inner) {
    const T* const inputs[] = {t.ptr, p.ptr};
    group_loss(inputs, outer, n, inner, PYDL_FORMULA {
        const auto other = PYDL_AT { return (T(1) - load_upto(in[0] + at, live)) * load_upto(in[1] + at, live); };
        const vec<T> hit = g.sum(PYDL_AT { return load_upto(in[0] + at, live) * load_upto(in[1] + at, live); });
        const vec<T> miss = g.largest(other), one = splat(T(1)), zero = {};
        const vec<T> ties = g.sum(PYDL_AT { return select(other(at, live) == miss, one, zero); });
        const vec<T> margin = miss - hit + one;
        g.put(a, miss);
        g.put(b, select(margin > zero, one / ties, zero));
        g.put(loss, max(zero, margin));
    });
}
template <class T>
void categorical_hinge_grad(In<T> t, In<T> p, In<T> a, In<T> b, In<T> dy, Out<T> dp, dim outer, dim n, dim inner) {
    spread(outer, n, inner, dp.ptr, stream_task, PYDL_PLACE {
        const vec<T> vt = place.of(t.ptr), share = place.of_group(b.ptr), other = T(1) - vt, zero = {};
        const vec<T> up = select(other * place.of(p.ptr) == place.of_group(a.ptr), share * other, zero);
        return place.of_group(dy.ptr) * (up - select(share > zero, vt, zero));
    });
}

// loss = t . p / (|t| |p|), lengths at least epsilon. a = 1 / (|t| |p|), b = loss / |p|^2 (0 where |p| was raised).
template <class T>
void cosine_similarity(In<T> t, In<T> p, Out<T> a, Out<T> b, Out<T> loss, real epsilon, dim outer, dim n, dim inner) {
    const T* const inputs[] = {t.ptr, p.ptr};
    const T shortest = static_cast<T>(epsilon);
    group_loss(inputs, outer, n, inner, PYDL_FORMULA {
        const auto product = [&](int i, int j) __attribute__((always_inline)) {
            return g.sum(PYDL_AT { return load_upto(in[i] + at, live) * load_upto(in[j] + at, live); });
        };
        const vec<T> tp = product(0, 1), length_t = sqrt(product(0, 0)), length_p = sqrt(product(1, 1));
        const vec<T> limit = splat(shortest), bounded = max(limit, length_p);
        const vec<T> inverse = T(1) / (max(limit, length_t) * bounded), cosine = tp * inverse;
        g.put(a, inverse);
        g.put(b, select(length_p < limit, vec<T>{}, cosine / (bounded * bounded)));
        g.put(loss, cosine);
    });
}
template <class T>
void cosine_similarity_grad(In<T> t, In<T> p, In<T> a, In<T> b, In<T> dy, Out<T> dp, dim outer, dim n, dim inner) {
    spread(outer, n, inner, dp.ptr, stream_task, PYDL_PLACE {
        const vec<T> along = place.of_group(a.ptr) * place.of(t.ptr);
        return place.of_group(dy.ptr) * (along - place.of_group(b.ptr) * place.of(p.ptr));
    });
}

// What probabilities are divided by: their sum, or 1 where that is 0.
template <class V>
PYDL_INLINE V divisor_of(V sum) {
    return select(sum == V{}, splat(lane_of<V>(1)), sum);
}

// loss = -sum of t log(q), q = p / sum(p) within [epsilon, 1 - epsilon]; as Keras, q is clipped after it is
// normalised, and where it was clipped nothing flows back. Where all p are 0, all q are epsilon (NaN in Keras).
// a = sum(p), b = sum of t over the values that were not clipped / a: dp = dy (b - t / p), 1 where not clipped.
template <class T>
void categorical_crossentropy(In<T> t, In<T> p, Out<T> a, Out<T> b, Out<T> loss, real epsilon, dim outer, dim n,
                              dim inner) {
    const T* const inputs[] = {t.ptr, p.ptr};
    const T low = static_cast<T>(epsilon), high = T(1) - low;
    group_loss(inputs, outer, n, inner, PYDL_FORMULA {
        const vec<T> total = divisor_of(g.sum(PYDL_AT { return load_upto(in[1] + at, live); }));
        const vec<T> l = g.template sum<Text::lengthy>(PYDL_AT {
            const vec<T> q = load_upto(in[1] + at, live) / total;
            return load_upto(in[0] + at, live) * log(max(splat(low), min(splat(high), q)));
        });
        const vec<T> flowing = g.sum(PYDL_AT {
            const vec<T> q = load_upto(in[1] + at, live) / total;
            return select((q >= splat(low)) & (q <= splat(high)), load_upto(in[0] + at, live), vec<T>{});
        });
        g.put(a, total);
        g.put(b, flowing / total);
        g.put(loss, -l);
    });
}
template <class T>
void categorical_crossentropy_grad(In<T> t, In<T> p, In<T> a, In<T> b, In<T> dy, Out<T> dp, real epsilon, dim outer,
                                   dim n, dim inner) {
    const vec<T> low = splat(static_cast<T>(epsilon)), high = T(1) - low;
    spread(outer, n, inner, dp.ptr, stream_task, PYDL_PLACE {
        const vec<T> vp = place.of(p.ptr), q = vp / place.of_group(a.ptr);
        const vec<T> own = select((q >= low) & (q <= high), place.of(t.ptr) / vp, vec<T>{});
        return place.of_group(dy.ptr) * (place.of_group(b.ptr) - own);
    });
}

// loss = -sum of t log(softmax(p)). a = max(p), b = sum(t) / sum of exp(p - a): dp = dy (b exp(p - a) - t).
// A value with t = 0 may be -inf (a masked logit).
template <class T>
void categorical_crossentropy_logits(In<T> t, In<T> p, Out<T> a, Out<T> b, Out<T> loss, dim outer, dim n, dim inner) {
    const T* const inputs[] = {t.ptr, p.ptr};
    group_loss(inputs, outer, n, inner, PYDL_FORMULA {
        const vec<T> m = g.largest(PYDL_AT { return load_upto(in[1] + at, live); }), zero = {};
        const vec<T> s = g.template sum<Text::lengthy>(PYDL_AT { return exp(load_upto(in[1] + at, live) - m); });
        const vec<T> weight = g.sum(PYDL_AT { return load_upto(in[0] + at, live); });
        const vec<T> hit = g.sum(PYDL_AT {
            const vec<T> vt = load_upto(in[0] + at, live);
            return select(vt == zero, zero, vt * (load_upto(in[1] + at, live) - m));
        });
        g.put(a, m);
        g.put(b, weight / s);
        g.put(loss, weight * log(s) - hit);
    });
}
template <class T>
void categorical_crossentropy_logits_grad(In<T> t, In<T> p, In<T> a, In<T> b, In<T> dy, Out<T> dp, dim outer, dim n,
                                          dim inner) {
    spread(outer, n, inner, dp.ptr, exp_task, PYDL_PLACE {
        const vec<T> e = exp(place.of(p.ptr) - place.of_group(a.ptr));
        return place.of_group(dy.ptr) * (place.of_group(b.ptr) * e - place.of(t.ptr));
    });
}

// The position of the first label that is not an integer in [0, classes), or -1.
template <class T>
PYDL_INLINE bool is_label(T label, dim classes) {
    return label >= T(0) && label < static_cast<T>(classes) && static_cast<T>(static_cast<dim>(label)) == label;
}
template <class T>
dim check_labels(In<T> labels, dim n, dim classes) {
    for (dim i = 0; i < n; ++i)
        if (!is_label(labels[i], classes)) return i;
    return -1;
}
// The same where one more value is allowed.
template <class T>
dim check_labels_or_ignored(In<T> labels, dim n, dim classes, dim ignored) {
    for (dim i = 0; i < n; ++i)
        if (!is_label(labels[i], classes) && labels[i] != static_cast<T>(ignored)) return i;
    return -1;
}

// The first NaN of x, where one of the loss's terms is NaN or infinite: the NaN has made it so. Where all terms are
// finite nothing else is read.
template <class T>
dim check_loss(In<T> x, In<T> loss, dim n, dim terms) {
    bool finite = true;
    for (dim i = 0; i < terms; ++i) finite &= loss[i] - loss[i] == T(0);
    if (!finite)
        for (dim i = 0; i < n; ++i)
            if (x[i] != x[i]) return i;
    return -1;
}

// As categorical_crossentropy with t = 1 at label[group], 0 elsewhere; 0 where the label is `ignored`.
// a, b = 1 / sum(p), 1 / p[label], both 0 where clipped or ignored: dp = dy (a - b at the label).
template <class T>
void sparse_categorical_crossentropy(In<T> p, In<std::int32_t> label, Out<T> a, Out<T> b, Out<T> loss, real epsilon,
                                     dim ignored, dim outer, dim n, dim inner) {
    const T* const inputs[] = {p.ptr};
    const T low = static_cast<T>(epsilon), high = T(1) - low;
    group_loss(inputs, outer, n, inner, PYDL_FORMULA {
        const vec<T> total = divisor_of(g.sum(PYDL_AT { return load_upto(in[0] + at, live); })), zero = {};
        const vec<T> hit = g.pick(in[0], label, ignored), q = hit / total;
        const mask<T> valid = g.valid(label, ignored), flows = valid & (q >= splat(low)) & (q <= splat(high));
        g.put(a, select(flows, T(1) / total, zero));
        g.put(b, select(flows, T(1) / hit, zero));
        g.put(loss, select(valid, -log(max(splat(low), min(splat(high), q))), zero));
    });
}
template <class T>
void sparse_categorical_crossentropy_grad(In<T>, In<std::int32_t> label, In<T> a, In<T> b, In<T> dy, Out<T> dp,
                                          dim outer, dim n, dim inner) {
    spread(outer, n, inner, dp.ptr, stream_task, PYDL_PLACE {
        const vec<T> own = select(place.is(label), place.of_group(b.ptr), vec<T>{});
        return place.of_group(dy.ptr) * (place.of_group(a.ptr) - own);
    });
}

// As categorical_crossentropy_logits with t = 1 at label[group]; 0 where the label is `ignored`.
// a = max(p), b = 1 / sum of exp(p - a), 0 where ignored: dp = dy (b exp(p - a) - 1 at the label).
template <class T>
void sparse_categorical_crossentropy_logits(In<T> p, In<std::int32_t> label, Out<T> a, Out<T> b, Out<T> loss,
                                            dim ignored, dim outer, dim n, dim inner) {
    const T* const inputs[] = {p.ptr};
    group_loss(inputs, outer, n, inner, PYDL_FORMULA {
        const vec<T> m = g.largest(PYDL_AT { return load_upto(in[0] + at, live); }), zero = {};
        const vec<T> s = g.template sum<Text::lengthy>(PYDL_AT { return exp(load_upto(in[0] + at, live) - m); });
        const mask<T> valid = g.valid(label, ignored);
        g.put(a, m);
        g.put(b, select(valid, T(1) / s, zero));
        g.put(loss, select(valid, log(s) - (g.pick(in[0], label, ignored) - m), zero));
    });
}
template <class T>
void sparse_categorical_crossentropy_logits_grad(In<T> p, In<std::int32_t> label, In<T> a, In<T> b, In<T> dy, Out<T> dp,
                                                 dim outer, dim n, dim inner) {
    const vec<T> one = splat(T(1)), zero = {};
    spread(outer, n, inner, dp.ptr, exp_task, PYDL_PLACE {
        const vec<T> weight = place.of_group(b.ptr);
        const vec<T> d = weight * exp(place.of(p.ptr) - place.of_group(a.ptr)) - select(place.is(label), one, zero);
        return select(weight == zero, zero, place.of_group(dy.ptr) * d);
    });
}

#undef PYDL_FORMULA
#undef PYDL_AT
#undef PYDL_PLACE

// ------------------------------------------------------------------------------- over the batch

// x (n), w (n) or null (all 1) -> y = scale * sum of w x; scale = 1 / n, or 1 / sum of w where by_weight (0 for 0).
template <class T>
void weighted_mean(In<T> x, OptIn<T> w, Out<T> scale, Out<T> y, dim n, dim by_weight) {
    double sum = 0, weight = 0;
    for (dim k = 0; k < n; k += run_block) {
        vec<T> part = {}, part_weight = {};
        Run<T>{least(run_block, n - k)}.each([&](dim at, dim live) __attribute__((always_inline)) {
            const vec<T> v = load_upto(x + k + at, live);
            if (w.ptr) {
                const vec<T> vw = load_upto(w.ptr + k + at, live);
                part = fma(v, vw, part);
                part_weight += vw;
            } else {
                part += v;
            }
        });
        sum += static_cast<double>(horizontal_sum(part));
        weight += static_cast<double>(horizontal_sum(part_weight));
    }
    const double divisor = by_weight && w.ptr ? weight : static_cast<double>(n);
    const double factor = divisor == 0 && by_weight ? 0 : 1 / divisor;
    scale[0] = static_cast<T>(factor);
    y[0] = static_cast<T>(sum * factor);
}
// dx = dy * scale * w.
template <class T>
void weighted_mean_grad(OptIn<T> w, In<T> scale, In<T> dy, Out<T> dx, dim n) {
    const vec<T> d = splat(dy[0] * scale[0]);
    spread(1, n, 1, dx.ptr, stream_task,
           [=](auto place) __attribute__((always_inline)) { return w.ptr ? d * place.of(w.ptr) : d; });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
