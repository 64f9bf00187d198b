// Additive attention (Bahdanau, Cho and Bengio 2015): score(t, s) = sum over d of scale(d) tanh(q(t, d) + k(s, d)).
// The sums inside tanh are never stored; the gradient makes them again.
#pragma once
#include "kernels/attention_rows.h"

namespace pydl::PYDL_ISA {
namespace {

// Queries, keys and what stands between them, of one member of the batch.
struct Additive {
    dim batch, queries, keys, width, depth, mask_batch, mask_query;

    PYDL_INLINE explicit Additive(Dims s)
        : batch(s[0]), queries(s[1]), keys(s[2]), width(s[3]), depth(s[4]), mask_batch(s[5]), mask_query(s[6]) {}
    template <class T>
    PYDL_INLINE Sight<T> sight(const std::uint8_t* mask, dim b) const {
        T* hidden = mask ? scratch<T>(Slot::seen_keys, keys) : nullptr;
        return {mask ? mask + b * mask_batch : nullptr, mask_query, keys, false, 0, hidden};
    }
};

// tanh(q + k) of every pair costs a rational function each. With many queries for the same keys it is made of what the
// pairs share: 1 - 2 / (1 + e^2q e^2k), good to 2 eps of 1, as long as no factor comes near the limits of T.
template <class T>
struct Direct {
    PYDL_INLINE vec<T> operator()(vec<T> q, vec<T> k) const { return tanh(q + k); }
};
template <class T>
struct ByFactors {
    PYDL_INLINE vec<T> operator()(vec<T> q, vec<T> k) const { return 1 - 2 / fma(q, k, splat(T(1))); }
};
constexpr dim queries_for_factors = 3;
constexpr int largest_factor = 20;

// to (n) = e^(2 from); whether all |from| allow it.
template <class T>
PYDL_INLINE bool factors(T* to, const T* from, dim n) {
    mask<T> bad = {};
    for (dim j = 0; j < n; j += lanes<T>) {
        const vec<T> x = load_upto(from + j, n - j);
        bad = bad | ~(abs(x) <= splat(T(largest_factor)));
        store_upto(to + j, exp(2 * x), n - j);
    }
    return !any(bad);
}

// f(function, q, k): with factors of the rows q (queries, width), k (keys, width) where that pays, else with them as
// they are.
template <class T, class F>
PYDL_INLINE void with_tanh(const T* q, const T* k, dim queries, dim keys, dim width, const F& f) {
    if (queries >= queries_for_factors) {
        T* fq = scratch<T>(Slot::score_factors, (queries + keys) * width);
        T* fk = fq + queries * width;
        if (factors(fq, q, queries * width) && factors(fk, k, keys * width)) return f(ByFactors<T>{}, fq, fk);
    }
    f(Direct<T>{}, q, k);
}

// y (batch, queries, depth) = p v, p (batch, queries, keys) = softmax of the scores over keys. q (batch, queries,
// width), k (batch, keys, width), v (batch, keys, depth), scale (width) or null for ones; mask: rows of keys, sizes[5],
// [6] apart for the next of the batch, the next query. drop (batch, queries, keys): where 0 a probability does not
// reach y, else it counts `kept`-fold.
template <class T>
void additive_attention(In<T> q, In<T> k, In<T> v, OptIn<T> scale, OptIn<std::uint8_t> mask, OptIn<std::uint8_t> drop,
                        Out<T> y, Out<T> p, Dims sizes, real kept) {
    const Additive s(sizes);
    const dim block = s.queries ? even_part(s.queries, 16) : 1, blocks = ceil_div(s.queries, block);
    for_tasks(s.batch * blocks, block * s.keys * (25 * s.width + 2 * s.depth), [&](dim task) {
        const dim b = task / blocks, t0 = task % blocks * block, rows = least(block, s.queries - t0);
        const dim first = b * s.queries + t0;
        T* scores = p + first * s.keys;
        with_tanh(q + first * s.width, k + b * s.keys * s.width, rows, s.keys, s.width,
                  [&](auto tanh_of, const T* query, const T* key) __attribute__((always_inline)) {
                      Poll poll;
                      for (dim r = 0; r < rows; ++r, query += s.width) {
                          if (poll(8 * s.keys * s.width)) return;
                          for (dim j = 0; j < s.keys; ++j) {
                              vec<T> sum = {};
                              for (dim i = 0; i < s.width; i += lanes<T>) {
                                  const dim live = s.width - i;
                                  vec<T> x =
                                      tanh_of(load_upto(query + i, live), load_upto(key + j * s.width + i, live));
                                  if (scale) sum = fma(x, load_upto(scale + i, live), sum);
                                  else sum += live < lanes<T> ? select(first_lanes<T>(live), x, vec<T>{}) : x;
                              }
                              scores[r * s.keys + j] = horizontal_sum(sum);
                          }
                      }
                  });
        Sight<T> sight = s.template sight<T>(mask, b);
        for (dim r = 0; r < rows; ++r)
            attend(scores + r * s.keys, s.keys, s.keys, sight.row(t0 + r), static_cast<const T*>(nullptr),
                   Logits<T>{1, 0});
        if (drop) {
            T* less = scratch<T>(Slot::dropped_scores, rows * s.keys);
            drop_row(less, scores, drop + first * s.keys, rows * s.keys, static_cast<T>(kept));
            scores = less;
        }
        times_rows(rows, s.depth, s.keys, scores, s.keys, v + b * s.keys * s.depth, s.depth, y + first * s.depth,
                   s.depth, false);
    });
}

// Gradients from dy and dp, either of which may be null (zero). dq and dk come together; dscale (batch, width) is to be
// summed over the batch. Those that are null are not wanted.
template <class T>
void dadditive_attention(In<T> q, In<T> k, In<T> v, OptIn<T> scale, OptIn<std::uint8_t> mask, OptIn<std::uint8_t> drop,
                         In<T> p, OptIn<T> dy, OptIn<T> dp, OptOut<T> dq, OptOut<T> dk, OptOut<T> dv, OptOut<T> dscale,
                         Dims sizes, real kept) {
    const Additive s(sizes);
    for_tasks(s.batch, s.queries * s.keys * (30 * s.width + 4 * s.depth), [&](dim b) {
        const dim first = b * s.queries, count = s.queries * s.keys;
        T* d = scratch<T>(Slot::scores, 2 * (count + lanes<T>));
        const T* used = p + first * s.keys;
        if (dy) {
            const T* from = dy + first * s.depth;
            times_columns(s.queries, s.keys, s.depth, from, s.depth, v + b * s.keys * s.depth, s.depth, d, s.keys);
            if (drop) {
                T* less = d + count + lanes<T>;
                drop_row(d, d, drop + first * s.keys, count, static_cast<T>(kept));
                drop_row(less, used, drop + first * s.keys, count, static_cast<T>(kept));
                used = less;
            }
            if (dv)
                transposed_times(s.keys, s.depth, s.queries, used, s.keys, from, s.depth, dv + b * s.keys * s.depth,
                                 s.depth, false);
            if (dp) add_to(d, dp + first * s.keys, count);
        } else {
            copy_to(d, dp + first * s.keys, count);
            if (dv) zero_rows(dv + b * s.keys * s.depth, s.keys, s.depth, s.depth);
        }
        if (!dq && !dscale) return;
        Sight<T> sight = s.template sight<T>(mask, b);
        for (dim t = 0; t < s.queries; ++t)
            attend_gradient(p + (first + t) * s.keys, d + t * s.keys, s.keys, s.keys, sight.row(t), T(1));
        T* into = dk ? dk + b * s.keys * s.width : nullptr;
        with_tanh(q + first * s.width, k + b * s.keys * s.width, s.queries, s.keys, s.width,
                  [&](auto tanh_of, const T* query, const T* key) __attribute__((always_inline)) {
                      Poll poll;
                      for (dim i = 0; i < s.width; i += lanes<T>) {
                          const dim live = s.width - i;
                          const vec<T> factor = scale ? load_upto(scale + i, live) : splat(T(1));
                          vec<T> dfactor = {};
                          for (dim t = 0; t < s.queries; ++t) {
                              if (poll(8 * s.keys * lanes<T>)) return;
                              const vec<T> at = load_upto(query + t * s.width + i, live);
                              vec<T> sum = {};
                              for (dim j = 0; j < s.keys; ++j) {
                                  const vec<T> x = tanh_of(at, load_upto(key + j * s.width + i, live));
                                  const vec<T> g = splat(d[t * s.keys + j]);
                                  dfactor = fma(g, x, dfactor);
                                  const vec<T> dx = g * factor * tanh_slope(x);
                                  sum += dx;
                                  if (into) {
                                      T* to = into + j * s.width + i;
                                      store_upto(to, t ? load_upto(to, live) + dx : dx, live);
                                  }
                              }
                              if (dq) store_upto(dq + (first + t) * s.width + i, sum, live);
                          }
                          if (dscale) store_upto(dscale + b * s.width + i, dfactor, live);
                      }
                  });
        if (into && s.queries == 0) zero_rows(into, s.keys, s.width, s.width);
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
