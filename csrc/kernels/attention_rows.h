// What attention kernels share: rows of scores on their way to probabilities and back, and what hides keys from them.
#pragma once
#include "kernels/matmul.h"

namespace pydl::PYDL_ISA {
namespace {

// Booleans (n) as lanes; false past the end, where nothing is read.
template <class T>
PYDL_INLINE mask<T> load_bool_upto(const std::uint8_t* p, dim n) {
    if (n >= lanes<T>) return load_bool<T>(p);
    std::uint8_t bytes[lanes<T>] = {};
    for (dim i = 0; i < n; ++i) bytes[i] = p[i];
    return load_bool<T>(bytes);
}

// Which keys a query sees: those whose `mask` is true, of the first `visible`. The mask has a row for each query, or
// one for all of them: then it is widened once.
template <class T>
struct Sight {
    const std::uint8_t* mask;  // of query 0, or null
    dim step;                  // from one query's row to the next
    dim keys;
    bool causal;
    dim before;  // keys that query 0 sees besides its own, when causal
    T* hidden;   // (keys): 1 where a key may be seen, else 0
    bool widened = false;

    PYDL_INLINE dim visible(dim t) const { return causal ? least(keys, before + t + 1) : keys; }
    // The row of query t, null without a mask.
    PYDL_INLINE const T* row(dim t) {
        if (!mask) return nullptr;
        if (keys > 0 && (step || !widened)) {
            const std::uint8_t* from = mask + t * step;
            for (dim j = 0; j < keys; j += lanes<T>)
                store_upto(hidden + j, select(load_bool_upto<T>(from + j, keys - j), splat(T(1)), vec<T>{}), keys - j);
            widened = true;
        }
        return hidden;
    }
};

// How scores become logits: cap tanh(score scale / cap) (no cap: 0) + bias.
template <class T>
struct Logits {
    T scale, cap;
    PYDL_INLINE vec<T> operator()(vec<T> score, const T* bias, dim live) const {
        vec<T> v = score * scale;
        if (cap != 0) v = cap * tanh(v * (1 / cap));
        return bias ? v + load_upto(bias, live) : v;
    }
};

// Scores (n) to probabilities in place. A row that sees nothing attends to all keys alike.
template <class T>
PYDL_INLINE void attend(T* row, dim n, dim visible, const T* seen, const T* bias, const Logits<T>& logits) {
    constexpr dim L = lanes<T>;
    const vec<T> nothing = splat(minus_infinity<T>);
    vec<T> top = nothing;
    for (dim j = 0; j < visible; j += L) {
        const dim live = visible - j;
        vec<T> v = logits(load_upto(row + j, live), bias ? bias + j : nullptr, live);
        if (seen) v = select(load_upto(seen + j, live) != 0, v, nothing);
        if (live < L) v = select(first_lanes<T>(live), v, nothing);
        top = max(top, v);
        store_upto(row + j, v, live);
    }
    const T highest = horizontal_max(top);
    const vec<T> shift = splat(highest == minus_infinity<T> ? T(0) : highest);
    vec<T> sum = {};
    for (dim j = 0; j < visible; j += L) {
        const dim live = visible - j;
        vec<T> e = exp(load_upto(row + j, live) - shift);
        if (live < L) e = select(first_lanes<T>(live), e, vec<T>{});
        sum += e;
        store_upto(row + j, e, live);
    }
    const T total = horizontal_sum(sum);
    if (total == 0) {
        for (dim j = 0; j < n; j += L) store_upto(row + j, splat(1 / static_cast<T>(n)), n - j);
        return;
    }
    const vec<T> share = splat(1 / total);
    for (dim j = 0; j < visible; j += L) store_upto(row + j, load_upto(row + j, visible - j) * share, visible - j);
    for (dim j = visible; j < n; j += L) store_upto(row + j, vec<T>{}, n - j);
}

// The gradient of the probabilities p (n) to that of the logits, in place in `d`, times `scale`; hidden keys get none.
template <class T>
PYDL_INLINE void attend_gradient(const T* p, T* d, dim n, dim visible, const T* seen, T scale) {
    constexpr dim L = lanes<T>;
    vec<T> sum = {};
    for (dim j = 0; j < n; j += L) sum = fma(load_upto(p + j, n - j), load_upto(d + j, n - j), sum);
    const vec<T> mean = splat(horizontal_sum(sum));
    for (dim j = 0; j < n; j += L) {
        vec<T> v = load_upto(p + j, n - j) * (load_upto(d + j, n - j) - mean) * scale;
        if (seen) v = select(load_upto(seen + j, n - j) != 0, v, vec<T>{});
        if (visible - j < L) v = select(first_lanes<T>(visible - j), v, vec<T>{});
        store_upto(d + j, v, n - j);
    }
}

// to (n) = from where `kept`, times `scale`, else 0.
template <class T>
PYDL_INLINE void drop_row(T* to, const T* from, const std::uint8_t* kept, dim n, T scale) {
    for (dim j = 0; j < n; j += lanes<T>) {
        const dim live = n - j;
        store_upto(to + j, select(load_bool_upto<T>(kept + j, live), load_upto(from + j, live) * scale, vec<T>{}),
                   live);
    }
}

// to (n) += from, = from, *= factor.
template <class T>
PYDL_INLINE void add_to(T* to, const T* from, dim n) {
    for (dim j = 0; j < n; j += lanes<T>)
        store_upto(to + j, load_upto(to + j, n - j) + load_upto(from + j, n - j), n - j);
}
template <class T>
PYDL_INLINE void copy_to(T* to, const T* from, dim n) {
    for (dim j = 0; j < n; j += lanes<T>) store_upto(to + j, load_upto(from + j, n - j), n - j);
}
template <class T>
PYDL_INLINE void times_number(T* to, dim n, T factor) {
    for (dim j = 0; j < n; j += lanes<T>) store_upto(to + j, load_upto(to + j, n - j) * factor, n - j);
}
template <class T>
PYDL_INLINE void zero_rows(T* to, dim rows, dim n, dim stride) {
    for (dim r = 0; r < rows; ++r)
        for (dim j = 0; j < n; j += lanes<T>) store_upto(to + r * stride + j, vec<T>{}, n - j);
}
// The gradient d (n) of capped scores to that of the scores: d scale (1 - tanh(score scale / cap)^2).
template <class T>
PYDL_INLINE void uncap(T* d, const T* scores, dim n, T scale, T cap) {
    for (dim j = 0; j < n; j += lanes<T>) {
        const vec<T> t = tanh(load_upto(scores + j, n - j) * (scale / cap));
        store_upto(d + j, load_upto(d + j, n - j) * scale * tanh_slope(t), n - j);
    }
}

// c (m, n) = a (m, k) b, b stored by columns (n, k): a single row goes without packing.
template <class T>
PYDL_INLINE void times_columns(dim m, dim n, dim k, const T* a, dim lda, const T* b, dim ldb, T* c, dim ldc) {
    const Result<T> out{c, ldc, nullptr, false, minus_infinity<T>, nullptr};
    if (m == 1) row_times_columns(0, n, k, a, b, ldb, out);
    else gemm_part(0, m, 0, n, k, RowsOfA<T>{a, lda, false}, ColumnsOfB<T>{b, ldb}, out);
}
// c (m, n) = a (m, k) b (k, n).
template <class T>
PYDL_INLINE void times_rows(dim m, dim n, dim k, const T* a, dim lda, const T* b, dim ldb, T* c, dim ldc, bool add) {
    gemm_part(0, m, 0, n, k, RowsOfA<T>{a, lda, false}, RowsOfB<T>{b, ldb, false},
              Result<T>{c, ldc, nullptr, add, minus_infinity<T>, nullptr});
}
// c (m, n) = a^T b, a (k, m), b (k, n).
template <class T>
PYDL_INLINE void transposed_times(dim m, dim n, dim k, const T* a, dim lda, const T* b, dim ldb, T* c, dim ldc,
                                  bool add) {
    gemm_part(0, m, 0, n, k, ColumnsOfA<T>{a, lda, false}, RowsOfB<T>{b, ldb, false},
              Result<T>{c, ldc, nullptr, add, minus_infinity<T>, nullptr});
}

// Tasks of `work` operations each in parallel, in chunks worth a thread.
template <class F>
PYDL_INLINE void for_tasks(dim tasks, dim work, const F& f) {
    parallel_for(tasks, part_work / (work + 1) + 1, [&](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) f(i);
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
