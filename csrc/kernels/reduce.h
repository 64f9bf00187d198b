// Reductions over the middle axis of (outer, n, inner), and their gradients.
// Sums of floats: blocks of a fixed partition, several registers of partial sums within a block, block results
// added in double. The partition depends on the sizes alone, so any number of threads gives the same bits.
#pragma once
#include "kernels/rows.h"

namespace pydl::PYDL_ISA {
namespace {

template <class T>
struct total_of {
    using type = double;
};
template <>
struct total_of<std::uint32_t> {
    using type = std::uint64_t;
};
template <>
struct total_of<std::uint64_t> {
    using type = std::uint64_t;
};

// A fold: its first value, how it takes in an element (c: the centre of its group, where `centred`), how it
// joins two partial results. Signed integers are added and multiplied as unsigned ones: they wrap, defined.
template <class T>
struct Sum {
    using total = typename total_of<T>::type;
    static constexpr bool centred = false, has_mean = is_floating<T>;
    static constexpr T first = 0;
    template <class V>
    PYDL_INLINE static V take(V a, V x, V) {
        return a + x;
    }
    template <class V>
    PYDL_INLINE static V join(V a, V b) {
        return a + b;
    }
};
template <class T>
struct SumOfSquares : Sum<T> {
    template <class V>
    PYDL_INLINE static V take(V a, V x, V) {
        return fma(x, x, a);
    }
};
template <class T>
struct SumOfSquaresAbout : Sum<T> {
    static constexpr bool centred = true;
    template <class V>
    PYDL_INLINE static V take(V a, V x, V c) {
        return fma(x - c, x - c, a);
    }
};
template <class T>
struct Product {
    using total = typename total_of<T>::type;
    static constexpr bool centred = false, has_mean = false;
    static constexpr T first = 1;
    template <class V>
    PYDL_INLINE static V take(V a, V x, V) {
        return a * x;
    }
    template <class V>
    PYDL_INLINE static V join(V a, V b) {
        return a * b;
    }
};

template <class T>
constexpr T lowest =
    is_floating<T> ? static_cast<T>(-__builtin_huge_val()) : static_cast<T>(sizeof(T) == 4 ? INT32_MIN : INT64_MIN);
template <class T>
constexpr T highest =
    is_floating<T> ? static_cast<T>(__builtin_huge_val()) : static_cast<T>(sizeof(T) == 4 ? INT32_MAX : INT64_MAX);

// NaN wins over everything, as in NumPy.
template <class T>
struct Max {
    using total = T;
    static constexpr bool centred = false, has_mean = false;
    static constexpr T first = lowest<T>;
    template <class V>
    PYDL_INLINE static V join(V a, V b) {
        return (a > b) | (a != a) ? a : b;
    }
    PYDL_INLINE static vec<T> join(vec<T> a, vec<T> b) { return max_nan(a, b); }
    template <class V>
    PYDL_INLINE static V take(V a, V x, V) {
        return join(a, x);
    }
};
template <class T>
struct Min {
    using total = T;
    static constexpr bool centred = false, has_mean = false;
    static constexpr T first = highest<T>;
    template <class V>
    PYDL_INLINE static V join(V a, V b) {
        return (a < b) | (a != a) ? a : b;
    }
    PYDL_INLINE static vec<T> join(vec<T> a, vec<T> b) { return min_nan(a, b); }
    template <class V>
    PYDL_INLINE static V take(V a, V x, V) {
        return join(a, x);
    }
};

// ------------------------------------------------------------------------------------------ runs

// x (n), n <= run_block; four registers of partial results hide the latency of the addition.
template <class F, class X, class T = compute<X>>
PYDL_INLINE T fold_block(const X* x, dim n, T centre) {
    constexpr dim L = lanes<T>;
    const vec<T> c = splat(centre), first = splat(F::first);
    vec<T> a0 = first, a1 = first, a2 = first, a3 = first;
    dim k = 0;
    for (; k + 4 * L <= n; k += 4 * L) {
        a0 = F::take(a0, load(x + k), c);
        a1 = F::take(a1, load(x + k + L), c);
        a2 = F::take(a2, load(x + k + 2 * L), c);
        a3 = F::take(a3, load(x + k + 3 * L), c);
    }
    for (; k + L <= n; k += L) a0 = F::take(a0, load(x + k), c);
    if (k < n) a1 = select(first_lanes<T>(n - k), F::take(a1, load_partial(x + k, n - k), c), a1);
    return fold(F::join(F::join(a0, a1), F::join(a2, a3)),
                [](auto a, auto b) __attribute__((always_inline)) { return F::join(a, b); });
}

template <class F, class X, class T = compute<X>>
typename F::total fold_run(const X* x, dim n, T centre) {
    typename F::total total = F::first;
    for (dim k = 0; k < n; k += run_block)
        total = F::join(total, static_cast<typename F::total>(fold_block<F>(x + k, least(run_block, n - k), centre)));
    return total;
}

// --------------------------------------------------------------------------------------- columns

// x (n, stride), NV registers of columns of it -> out (NV * lanes). Eight registers of partial results.
template <class F, int NV, class X, class T = compute<X>>
void fold_strip(const X* x, dim n, dim stride, const T* centre, T* out) {
    constexpr dim L = lanes<T>;
    constexpr int U = 8 / NV;
    vec<T> a[U][NV], c[NV];
    PYDL_UNROLL for (int v = 0; v < NV; ++v) {
        c[v] = vec<T>{};
        if constexpr (F::centred) c[v] = load(centre + v * L);
        PYDL_UNROLL for (int u = 0; u < U; ++u) a[u][v] = splat(F::first);
    }
    dim k = 0;
    for (; k + U <= n; k += U)
        PYDL_UNROLL for (int u = 0; u < U; ++u) PYDL_UNROLL for (int v = 0; v < NV; ++v) a[u][v] =
            F::take(a[u][v], load(x + (k + u) * stride + v * L), c[v]);
    for (; k < n; ++k)
        PYDL_UNROLL for (int v = 0; v < NV; ++v) a[0][v] = F::take(a[0][v], load(x + k * stride + v * L), c[v]);
    static_assert(U == 8 || U == 2);
    PYDL_UNROLL for (int v = 0; v < NV; ++v) {
        if constexpr (U == 8) {
            PYDL_UNROLL for (int u = 0; u < 4; ++u) a[u][v] = F::join(a[u][v], a[u + 4][v]);
            PYDL_UNROLL for (int u = 0; u < 2; ++u) a[u][v] = F::join(a[u][v], a[u + 2][v]);
        }
        store(out + v * L, F::join(a[0][v], a[1][v]));
    }
}

constexpr int strip_registers = 4;
template <class T>
constexpr dim strip = strip_registers * lanes<T>;
constexpr dim column_block = 256;  // rows summed in T before the sums go to the wider type

// x (n, stride), columns j0 .. j1 of it (at most a strip; stride >= lanes) -> total (j1 - j0).
// Where fewer than a register's columns are left, the register reaches back over columns already done.
template <class F, class X, class T = compute<X>>
void fold_columns(const X* x, dim n, dim stride, dim j0, dim j1, const T* centre, typename F::total* total) {
    constexpr dim L = lanes<T>;
    alignas(PYDL_VECTOR_BYTES) T out[strip<T>];
    for (dim j = 0; j < j1 - j0; ++j) total[j] = F::first;
    for (dim k = 0; k < n; k += column_block) {
        const X* rows = x + k * stride;
        const dim count = least(column_block, n - k);
        if (j1 - j0 == strip<T>) {
            fold_strip<F, strip_registers>(rows + j0, count, stride, centre + j0, out);
            for (dim j = 0; j < strip<T>; ++j) total[j] = F::join(total[j], static_cast<typename F::total>(out[j]));
            continue;
        }
        for (dim j = j0; j < j1; j += L) {
            const dim at = least(j, stride - L);
            fold_strip<F, 1>(rows + at, count, stride, centre + at, out);
            for (dim i = j; i < least(j + L, j1); ++i)
                total[i - j0] = F::join(total[i - j0], static_cast<typename F::total>(out[i - at]));
        }
    }
}

// The same of many rows, pieces of which are the tasks.
template <class F, class X, class T = compute<X>>
void fold_tall_columns(const X* x, dim n, dim stride, dim j0, dim j1, const T* centre, typename F::total* total) {
    typename F::total part[max_pieces / 2][strip<T>];
    const dim rows = ceil_div(most(stream_task / strip<T>, ceil_div(n, max_pieces / 2)), column_block) * column_block;
    const dim pieces = ceil_div(n, rows);
    parallel_for(pieces, 1, [&](dim begin, dim end) {
        for (dim p = begin; p < end; ++p)
            fold_columns<F>(x + p * rows * stride, least(rows, n - p * rows), stride, j0, j1, centre, part[p]);
    });
    for (dim j = 0; j < j1 - j0; ++j) {
        total[j] = part[0][j];
        for (dim p = 1; p < pieces; ++p) total[j] = F::join(total[j], part[p][j]);
    }
}

// ------------------------------------------------------------------------------------ all layouts

// A total as an element of T: rounded to what T is computed as, then to what is stored.
template <class T, class Total>
PYDL_INLINE T element_of(Total total) {
    if constexpr (is_narrow<T>) return stored_as<T>(static_cast<compute<T>>(total));
    else return static_cast<T>(total);
}
// y (n) = totals, divided by `divisor` where that is not 1.
template <class F, class Y>
PYDL_INLINE void finish(const typename F::total* totals, Y* y, dim n, double divisor) {
    if (F::has_mean && divisor != 1)
        for (dim i = 0; i < n; ++i) y[i] = element_of<Y>(totals[i] / static_cast<typename F::total>(divisor));
    else
        for (dim i = 0; i < n; ++i) y[i] = element_of<Y>(totals[i]);
}

// x (outer, n, inner), centre (outer, inner) -> y (outer, inner) = total / divisor; no mean: divisor 1.
template <class F, class X, class Y>
void reduce(const X* x, const compute<X>* centre, Y* y, dim outer, dim n, dim inner, double divisor) {
    using T = compute<X>;
    constexpr dim L = lanes<T>;
    using total = typename F::total;
    if (outer * inner == 0) return;
    const auto centre_of = [&](dim g) __attribute__((always_inline)) {
        if constexpr (F::centred) return centre[g];
        else return T{};
    };
    const auto put = [&](dim g, total t) __attribute__((always_inline)) { finish<F>(&t, y + g, 1, divisor); };
    const auto scalar = [&](dim o, dim i) __attribute__((always_inline)) {
        T t = F::first;
        for (dim k = 0; k < n; ++k) t = F::take(t, value_of(x[(o * n + k) * inner + i]), centre_of(o * inner + i));
        put(o * inner + i, static_cast<total>(t));
    };
    if (n * inner < L || (outer == 1 && inner == 1 && n <= short_row)) {
        // Less than a register together.
        parallel_for(outer, most(stream_task / 4 / most(n * inner, dim{1}), dim{1}), [&](dim begin, dim end) {
            for (dim o = begin; o < end; ++o)
                for (dim i = 0; i < inner; ++i) scalar(o, i);
        });
    } else if (inner == 1 && n <= short_row) {
        for_squares<T>(outer, n, stream_task, [&](dim o, dim rows) __attribute__((always_inline)) {
            if (rows < L) {
                for (dim r = 0; r < rows; ++r) scalar(o + r, 0);
                return;
            }
            Square<T> s;
            T out[L];
            total totals[L];
            gather_rows(x + o * n, n, rows, (outer - o) * n, s);
            fold_strip<F, 1>(s.at, n, L, centre + (F::centred ? o : 0), out);
            for (dim r = 0; r < L; ++r) totals[r] = static_cast<total>(out[r]);
            finish<F>(totals, y + o, L, divisor);
        });
    } else if (inner == 1 && (outer >= 8 || outer * n <= stream_task)) {
        parallel_for(outer, most(stream_task / n, dim{1}), [&](dim begin, dim end) {
            for (dim o = begin; o < end; ++o) put(o, fold_run<F>(x + o * n, n, centre_of(o)));
        });
    } else if (inner == 1) {
        const dim piece = piece_of(n, stream_task / 2), pieces = ceil_div(n, piece);
        for (dim o = 0; o < outer; ++o) {
            total part[max_pieces];
            part[0] = F::first;
            parallel_for(pieces, 1, [&](dim begin, dim end) {
                for (dim p = begin; p < end; ++p)
                    part[p] = fold_run<F>(x + o * n + p * piece, least(piece, n - p * piece), centre_of(o));
            });
            for (dim p = 1; p < pieces; ++p) part[0] = F::join(part[0], part[p]);
            put(o, part[0]);
        }
    } else if (inner < L) {
        // R rows make one wide row of at least a register; its columns fold onto the `inner` ones afterwards.
        const dim R = ceil_div(L, inner), width = R * inner, wide_rows = n / R;
        const bool tall = wide_rows * width > stream_task;
        const auto one = [&](dim o) {
            const X* xo = x + o * n * inner;
            total sums[strip<T>];
            T wide_centre[2 * lanes<T>] = {};
            if constexpr (F::centred)
                for (dim j = 0; j < width; ++j) wide_centre[j] = centre[o * inner + j % inner];
            (tall ? fold_tall_columns<F, X, T> : fold_columns<F, X, T>)(xo, wide_rows, width, 0, width, wide_centre,
                                                                        sums);
            for (dim i = 0; i < inner; ++i) {
                T rest = F::first;
                for (dim k = wide_rows * R; k < n; ++k)
                    rest = F::take(rest, value_of(xo[k * inner + i]), centre_of(o * inner + i));
                total t = static_cast<total>(rest);
                for (dim r = 0; r < R; ++r) t = F::join(t, sums[r * inner + i]);
                put(o * inner + i, t);
            }
        };
        if (tall)  // its pieces are the tasks
            for (dim o = 0; o < outer; ++o) one(o);
        else
            parallel_for(outer, most(stream_task / (n * inner), dim{1}), [&](dim begin, dim end) {
                for (dim o = begin; o < end; ++o) one(o);
            });
    } else {
        const dim strips = ceil_div(inner, strip<T>), items = outer * strips;
        const bool tall = items < 8 && outer * n * inner > stream_task;
        const auto one = [&](dim p) {
            const dim o = p / strips, j0 = p % strips * strip<T>, j1 = least(j0 + strip<T>, inner);
            total t[strip<T>];
            (tall ? fold_tall_columns<F, X, T> : fold_columns<F, X, T>)(x + o * n * inner, n, inner, j0, j1,
                                                                        centre + (F::centred ? o * inner : 0), t);
            finish<F>(t, y + o * inner + j0, j1 - j0, divisor);
        };
        if (tall)
            for (dim p = 0; p < items; ++p) one(p);
        else
            parallel_for(items, most(stream_task / (n * strip<T>), dim{1}), [&](dim begin, dim end) {
                for (dim p = begin; p < end; ++p) one(p);
            });
    }
}

// Without centres.
template <class F, class X, class Y>
PYDL_INLINE void reduce(const X* x, Y* y, dim outer, dim n, dim inner, double divisor = 1) {
    static_assert(!F::centred);
    reduce<F>(x, reinterpret_cast<const compute<X>*>(x), y, outer, n, inner, divisor);
}

// x (outer, n, inner) -> y (outer, inner). An empty sum is 0; integers wrap.
template <class T>
void reduce_sum(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    using U = wrapping<T>;
    const auto* xu = reinterpret_cast<const U*>(x.ptr);
    reduce<Sum<compute<U>>>(xu, y.ptr, outer, n, inner);
}

// x (outer, n, inner) -> y (outer, inner). An empty mean is NaN.
template <class T>
void reduce_mean(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    reduce<Sum<compute<T>>>(x.ptr, y.ptr, outer, n, inner, static_cast<double>(n));
}

// Gradient of sum and mean: dy (outer, inner) -> dx (outer, n, inner) = scale * dy.
template <class T>
void reduce_sum_grad(In<T> dy, Out<T> dx, real scale, dim outer, dim n, dim inner) {
    const vec<T> s = splat(static_cast<T>(scale));
    spread(outer, n, inner, dx.ptr, stream_task,
           [=](auto p) __attribute__((always_inline)) { return s * p.of_group(dy); });
}

// x (outer, n, inner) -> y (outer, inner) = sum of x^2.
template <class T>
void reduce_sum_squares(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    reduce<SumOfSquares<compute<T>>>(x.ptr, y.ptr, outer, n, inner);
}

// Gradient of the sum of squares (scale 2): x (outer, n, inner), dy (outer, inner) -> dx = scale * x * dy.
template <class T>
void reduce_sum_squares_grad(In<T> x, In<T> dy, Out<T> dx, real scale, dim outer, dim n, dim inner) {
    const vec<T> s = splat(static_cast<T>(scale));
    spread(outer, n, inner, dx.ptr, stream_task,
           [=](auto p) __attribute__((always_inline)) { return s * p.of(x) * p.of_group(dy); });
}

// x (outer, n, inner) -> mean (outer, inner), variance (outer, inner) about it, in two passes.
template <class T>
void reduce_variance(In<T> x, Out<T> mean, Out<T> variance, dim outer, dim n, dim inner) {
    const auto count = static_cast<double>(n);
    reduce<Sum<T>>(x.ptr, mean.ptr, outer, n, inner, count);
    reduce<SumOfSquaresAbout<T>>(x.ptr, mean.ptr, variance.ptr, outer, n, inner, count);
}

// dx = dmean / n + dvariance * 2 (x - mean) / n; dmean, dvariance (outer, inner), either may be null.
template <class T>
void reduce_variance_grad(In<T> x, In<T> mean, OptIn<T> dmean, OptIn<T> dvariance, Out<T> dx, dim outer, dim n,
                          dim inner) {
    const vec<T> once = splat(static_cast<T>(1.0 / static_cast<double>(n))), twice = once + once;
    spread(outer, n, inner, dx.ptr, stream_task, [=](auto p) __attribute__((always_inline)) {
        vec<T> d = {};
        if (dmean.ptr) d = once * p.of_group(dmean);
        if (dvariance.ptr) d = fma(twice * p.of_group(dvariance), p.of(x) - p.of_group(mean), d);
        return d;
    });
}

// x (outer, n, inner) -> y (outer, inner). An empty product is 1; integers wrap.
template <class T>
void reduce_prod(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    using U = wrapping<T>;
    const auto* xu = reinterpret_cast<const U*>(x.ptr);
    reduce<Product<compute<U>>>(xu, y.ptr, outer, n, inner);
}

// dx[k] = dy * (product of all x but x[k]): products of what lies before and after, right with zeros in x too.
template <class T>
void reduce_prod_grad(In<T> x, In<T> dy, Out<T> dx, dim outer, dim n, dim inner) {
    parallel_for(outer, most(stream_task / 4 / most(n * inner, dim{1}), dim{1}), [&](dim begin, dim end) {
        for (dim o = begin; o < end; ++o)
            for (dim i = 0; i < inner; ++i) {
                const dim at = o * n * inner + i;
                T before = dy[o * inner + i], after = 1;
                for (dim k = 0; k < n; ++k) {
                    dx[at + k * inner] = before;
                    before *= x[at + k * inner];
                }
                for (dim k = n - 1; k >= 0; --k) {
                    dx[at + k * inner] *= after;
                    after *= x[at + k * inner];
                }
            }
    });
}

// x (outer, n, inner), n >= 1 -> y (outer, inner); NaN if any value is.
template <class T>
void reduce_max(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    reduce<Max<compute<T>>>(x.ptr, y.ptr, outer, n, inner);
}
template <class T>
void reduce_min(In<T> x, Out<T> y, dim outer, dim n, dim inner) {
    reduce<Min<compute<T>>>(x.ptr, y.ptr, outer, n, inner);
}

// Gradient of max and min: dy is shared evenly by the values equal to y. share (outer, inner) = dy / their number.
template <class T>
void reduce_extremum_grad(In<T> x, In<T> y, In<T> dy, Out<T> share, Out<T> dx, dim outer, dim n, dim inner) {
    for (dim g = 0; g < outer * inner; ++g) share[g] = 0;
    parallel_for(outer, most(stream_task / most(n * inner, dim{1}), dim{1}), [&](dim begin, dim end) {
        for (dim o = begin; o < end; ++o)
            for (dim k = 0; k < n; ++k)
                for (dim i = 0; i < inner; ++i) share[o * inner + i] += x[(o * n + k) * inner + i] == y[o * inner + i];
    });
    for (dim g = 0; g < outer * inner; ++g) share[g] = dy[g] / share[g];
    const vec<T> none = {};
    spread(outer, n, inner, dx.ptr, stream_task, [=](auto p) __attribute__((always_inline)) {
        return select(p.of(x) == p.of_group(y), p.of_group(share), none);
    });
}

// -------------------------------------------------------------------------------------- positions

// The first place of the extremum; the first NaN where there is one.
template <class T>
dim find_first(const T* x, dim n, T value) {
    const vec<T> v = splat(value);
    const bool is_nan = value != value;
    for (dim k = 0; k < n; k += lanes<T>) {
        const vec<T> here = load_upto(x + k, n - k);
        const mask<T> found = (is_nan ? here != here : here == v) & first_lanes<T>(n - k);
        if (any(found))
            for (dim i = 0; i < lanes<T>; ++i)
                if (found[i]) return k + i;
    }
    return 0;
}
template <class F, class T>
PYDL_INLINE bool beats(T a, T b) {  // a comes after b
    return b == b && (a != a || (a != b && F::join(a, b) == a));
}

// x (n): blocks are folded at full speed, only the first best one is searched.
template <class F, class T>
dim position_in_run(const T* x, dim n, T& best) {
    dim at = 0;
    for (dim k = 0; k < n; k += run_block) {
        const T t = fold_block<F>(x + k, least(run_block, n - k), T{});
        if (k == 0 || beats<F>(t, best)) {
            best = t;
            at = k;
        }
    }
    return at + find_first(x + at, least(run_block, n - at), best);
}

// x (n, stride): one register of columns of it, `live` lanes -> y (live).
template <class F, class T>
void position_in_columns(const T* x, dim n, dim stride, dim live, std::int32_t* y) {
    using I = int_of<T>;
    vec<T> best = load_upto(x, live);
    vec<I> place = {};
    for (dim k = 1; k < n; ++k) {
        const vec<T> v = load_upto(x + k * stride, live);
        const vec<T> joined = F::join(best, v);
        // Ties keep the earlier place; so does a NaN already found.
        const mask<T> later = (joined != best) & (best == best);
        place = select(later, splat(static_cast<I>(k)), place);
        best = joined;
    }
    for (dim i = 0; i < live; ++i) y[i] = static_cast<std::int32_t>(place[i]);
}

template <class F, class T>
void position(const T* x, std::int32_t* y, dim outer, dim n, dim inner) {
    constexpr dim L = lanes<T>;
    if (outer * inner == 0) return;
    if (inner == 1 && n <= short_row) {
        for_squares<T>(outer, n, stream_task, [&](dim o, dim rows) __attribute__((always_inline)) {
            Square<T> s;
            gather_rows(x + o * n, n, rows, (outer - o) * n, s);
            std::int32_t out[L];
            position_in_columns<F>(s.at, n, L, L, out);
            for (dim r = 0; r < rows; ++r) y[o + r] = out[r];
        });
    } else if (inner == 1 && (outer >= 8 || outer * n <= stream_task)) {
        parallel_for(outer, most(stream_task / n, dim{1}), [&](dim begin, dim end) {
            for (dim o = begin; o < end; ++o) {
                T best;
                y[o] = static_cast<std::int32_t>(position_in_run<F>(x + o * n, n, best));
            }
        });
    } else if (inner == 1) {
        const dim piece = piece_of(n, stream_task / 2), pieces = ceil_div(n, piece);
        for (dim o = 0; o < outer; ++o) {
            T best[max_pieces];
            dim at[max_pieces];
            at[0] = 0;
            parallel_for(pieces, 1, [&](dim begin, dim end) {
                for (dim p = begin; p < end; ++p)
                    at[p] = p * piece + position_in_run<F>(x + o * n + p * piece, least(piece, n - p * piece), best[p]);
            });
            dim winner = 0;
            for (dim p = 1; p < pieces; ++p)
                if (beats<F>(best[p], best[winner])) winner = p;
            y[o] = static_cast<std::int32_t>(at[winner]);
        }
    } else {
        const dim strips = ceil_div(inner, L);
        parallel_for(outer * strips, most(stream_task / (n * least(inner, L)), dim{1}), [&](dim begin, dim end) {
            for (dim p = begin; p < end; ++p) {
                const dim o = p / strips, j = p % strips * L;
                position_in_columns<F>(x + o * n * inner + j, n, inner, least(L, inner - j), y + o * inner + j);
            }
        });
    }
}

// x (outer, n, inner), 1 <= n < 2^31 -> y (outer, inner): where the first extremum (or NaN) lies.
template <class T>
void reduce_argmax(In<T> x, Out<std::int32_t> y, dim outer, dim n, dim inner) {
    position<Max<T>>(x.ptr, y.ptr, outer, n, inner);
}
template <class T>
void reduce_argmin(In<T> x, Out<std::int32_t> y, dim outer, dim n, dim inner) {
    position<Min<T>>(x.ptr, y.ptr, outer, n, inner);
}

// ----------------------------------------------------------------------------------------- truth

// Of the values that are not zero (NaN is not): counts (outer, inner), or where that is null, whether there are at least
// `wanted` of them. For any element type; plain loops that the compiler vectorises.
template <class T>
void count_true(const T* x, std::int32_t* counts, std::uint8_t* enough, dim wanted, dim outer, dim n, dim inner) {
    parallel_for(outer, most(stream_task / most(n * inner, dim{1}), dim{1}), [&](dim begin, dim end) {
        for (dim o = begin; o < end; ++o) {
            const T* xo = x + o * n * inner;
            constexpr dim width = 256;
            for (dim j = 0; j < inner; j += width) {
                const dim columns = least(width, inner - j), at = o * inner + j;
                std::int32_t count[width] = {};
                if (inner == 1)
                    for (dim k = 0; k < n; ++k) count[0] += xo[k] != 0;
                else
                    for (dim k = 0; k < n; ++k)
                        for (dim i = 0; i < columns; ++i) count[i] += xo[k * inner + j + i] != 0;
                if (counts)
                    for (dim i = 0; i < columns; ++i) counts[at + i] = count[i];
                else
                    for (dim i = 0; i < columns; ++i) enough[at + i] = count[i] >= wanted;
            }
        }
    });
}

// x (outer, n, inner) -> y (outer, inner); NaN counts as true.
template <class T>
void reduce_any(In<T> x, Out<std::uint8_t> y, dim outer, dim n, dim inner) {
    count_true<T>(x.ptr, nullptr, y.ptr, 1, outer, n, inner);
}
template <class T>
void reduce_all(In<T> x, Out<std::uint8_t> y, dim outer, dim n, dim inner) {
    count_true<T>(x.ptr, nullptr, y.ptr, n, outer, n, inner);
}
template <class T>
void reduce_count_nonzero(In<T> x, Out<std::int32_t> y, dim outer, dim n, dim inner) {
    count_true<T>(x.ptr, y.ptr, nullptr, 0, outer, n, inner);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
