// Family attention. Scores of queries against keys, their softmax over keys, the average of values it weighs:
// by dot products in heads (Vaswani et al. 2017; Luong et al. 2015 with one head), and additive (Bahdanau et al. 2015).
// Scores are kept by the block in cache; probabilities in memory only where somebody wants them (gradient, caller).
#pragma once
#include "kernels/attention_additive.h"
#include "kernels/attention_rows.h"

namespace pydl::PYDL_ISA {
namespace {

// q (batch, queries, heads, width), k (batch, keys, groups, width), v (batch, keys, groups, depth): a head reads the
// group head / (heads / groups), where it lies, rows ld apart.
struct Heads {
    dim batch, heads, groups, queries, keys, width, depth;
    dim k_batch, v_batch;  // from one member of the batch to the next

    PYDL_INLINE explicit Heads(Dims s)
        : batch(s[0]),
          heads(s[1]),
          groups(s[2]),
          queries(s[3]),
          keys(s[4]),
          width(s[5]),
          depth(s[6]),
          k_batch(keys * ldk()),
          v_batch(keys * ldv()) {}
    PYDL_INLINE dim per_group() const { return heads / groups; }
    PYDL_INLINE dim ldq() const { return heads * width; }
    PYDL_INLINE dim ldk() const { return groups * width; }
    PYDL_INLINE dim ldv() const { return groups * depth; }
    PYDL_INLINE dim ldy() const { return heads * depth; }
    PYDL_INLINE dim q(dim b, dim h, dim t) const { return ((b * queries + t) * heads + h) * width; }
    PYDL_INLINE dim y(dim b, dim h, dim t) const { return ((b * queries + t) * heads + h) * depth; }
    PYDL_INLINE dim k(dim b, dim g) const { return b * k_batch + g * width; }
    PYDL_INLINE dim v(dim b, dim g) const { return b * v_batch + g * depth; }
    PYDL_INLINE dim scores(dim b, dim h, dim t) const { return ((b * heads + h) * queries + t) * keys; }
    // Queries whose scores stay in L2 together.
    PYDL_INLINE dim block() const {
        return queries == 0 ? 1 : even_part(queries, ceil_div(dim{32768}, (keys + 1) * 14) * 14);
    }
};

// The keys the queries t0.. of a head see, and their bias. Strides by batch, head, query.
template <class T>
struct Surroundings {
    const T* bias;
    Dims bias_stride;
    const std::uint8_t* mask;
    Dims mask_stride;
    bool causal;
    dim before = 0;

    PYDL_INLINE Sight<T> sight(const Heads& s, dim b, dim h) const {
        T* hidden = mask ? scratch<T>(Slot::seen_keys, s.keys) : nullptr;
        const std::uint8_t* first = mask ? mask + b * mask_stride[0] + h * mask_stride[1] : nullptr;
        return {first, mask_stride[2], s.keys, causal, before, hidden};
    }
    PYDL_INLINE const T* bias_row(dim b, dim h, dim t) const {
        return bias ? bias + b * bias_stride[0] + h * bias_stride[1] + t * bias_stride[2] : nullptr;
    }
    // Keys that any query up to t1 may see. (One that sees nothing at all attends to every key.)
    PYDL_INLINE dim reach(const Heads& s, dim t1) const {
        return causal && !mask && !bias ? least(s.keys, before + t1) : s.keys;
    }
};

template <class T>
void attend_in_heads(const Heads& s, const T* q, const T* k, const T* v, const Surroundings<T>& around,
                     const std::uint8_t* drop, T kept, const Logits<T>& logits, T* y, T* p) {
    const dim block = s.block(), blocks = ceil_div(s.queries, block);
    const dim work = block * s.keys * (2 * (s.width + s.depth) + 80);
    for_tasks(s.batch * s.heads * blocks, work, [&](dim task) {
        const dim t0 = task % blocks * block, head = task / blocks, h = head % s.heads, b = head / s.heads;
        const dim rows = least(block, s.queries - t0), g = h / s.per_group();
        T* scores = p ? p + s.scores(b, h, t0) : scratch<T>(Slot::scores, block * s.keys);
        const dim reach = around.reach(s, t0 + rows);
        times_columns(rows, reach, s.width, q + s.q(b, h, t0), s.ldq(), k + s.k(b, g), s.ldk(), scores, s.keys);
        Sight<T> sight = around.sight(s, b, h);
        for (dim r = 0; r < rows; ++r)
            attend(scores + r * s.keys, s.keys, sight.visible(t0 + r), sight.row(t0 + r), around.bias_row(b, h, t0 + r),
                   logits);
        if (drop) {
            T* less = scratch<T>(Slot::dropped_scores, block * s.keys);
            drop_row(less, scores, drop + s.scores(b, h, t0), rows * s.keys, kept);
            scores = less;
        }
        times_rows(rows, s.depth, reach, scores, s.keys, v + s.v(b, g), s.ldv(), y + s.y(b, h, t0), s.ldy(), false);
    });
}

// y (batch, queries, heads, depth) = softmax(cap(scale q k) + bias) v. bias, mask: seen as (batch, heads, queries,
// keys) with the strides of the first three axes. drop (batch, heads, queries, keys): where 0 a probability is left
// out, else it counts `kept`-fold. p (batch, heads, queries, keys): the probabilities before that.
template <class T>
void dot_attention(In<T> q, In<T> k, In<T> v, OptIn<T> bias, OptIn<std::uint8_t> mask, OptIn<std::uint8_t> drop,
                   Out<T> y, OptOut<T> p, Dims sizes, Dims bias_stride, Dims mask_stride, real scale, real cap,
                   real kept, dim causal) {
    attend_in_heads<T>(Heads(sizes), q, k, v, {bias, bias_stride, mask, mask_stride, causal != 0}, drop,
                       static_cast<T>(kept), {static_cast<T>(scale), static_cast<T>(cap)}, y, p);
}

// One step of generation. cache (batch, 2, keys, groups, width): keys and values so far. k, v (batch, queries, groups,
// width), or null where the cache is complete, are put at `index`; causal: query t sees the keys up to index + t.
template <class T>
void cached_attention(In<T> q, OptIn<T> k, OptIn<T> v, InOut<T> cache, In<std::int32_t> index, OptIn<std::uint8_t> mask,
                      Out<T> y, OptOut<T> p, Dims sizes, Dims mask_stride, real scale, dim causal) {
    Heads s(sizes);
    const dim row = s.ldk(), half = s.keys * row, before = k ? index[0] : 0;
    if (k)
        for_tasks(s.batch, s.queries * row, [&](dim b) {
            T* to = cache + 2 * b * half + before * row;
            copy_to(to, k + b * s.queries * row, s.queries * row);
            copy_to(to + half, v + b * s.queries * row, s.queries * row);
        });
    s.k_batch = s.v_batch = 2 * half;
    attend_in_heads<T>(s, q, cache, cache + half, {nullptr, mask_stride, mask, mask_stride, causal != 0, before},
                       nullptr, 1, {static_cast<T>(scale), 0}, y, p);
}

// Gradients from dy and dp, either of which may be null (zero); those that are null are not wanted. dlogits (batch,
// heads, queries, keys): that of the bias before it is summed to its shape.
template <class T>
void ddot_attention(In<T> q, In<T> k, In<T> v, OptIn<std::uint8_t> mask, OptIn<std::uint8_t> drop, In<T> p, OptIn<T> dy,
                    OptIn<T> dp, OptOut<T> dq, OptOut<T> dk, OptOut<T> dv, OptOut<T> dlogits, Dims sizes,
                    Dims mask_stride, real scale, real cap, real kept, dim causal) {
    const Heads s(sizes);
    const Surroundings<T> around{nullptr, mask_stride, mask, mask_stride, causal != 0};
    const dim block = s.block(), size = block * s.keys;
    const dim work = s.per_group() * s.queries * s.keys * (4 * (s.width + s.depth) + 20);
    for_tasks(s.batch * s.groups, work, [&](dim task) {
        const dim g = task % s.groups, b = task / s.groups;
        T* d = scratch<T>(Slot::scores, size);
        T* more = drop || cap != 0 ? scratch<T>(Slot::dropped_scores, size) : nullptr;
        bool first = true;
        for (dim h = g * s.per_group(); s.queries && h < (g + 1) * s.per_group(); ++h) {
            Sight<T> sight = around.sight(s, b, h);
            for (dim t0 = 0; t0 < s.queries; t0 += block, first = false) {
                const dim rows = least(block, s.queries - t0), count = rows * s.keys, at = s.scores(b, h, t0);
                const T* used = p + at;
                if (dy) {
                    const T* from = dy + s.y(b, h, t0);
                    times_columns(rows, s.keys, s.depth, from, s.ldy(), v + s.v(b, g), s.ldv(), d, s.keys);
                    if (drop) {
                        drop_row(d, d, drop + at, count, static_cast<T>(kept));
                        drop_row(more, used, drop + at, count, static_cast<T>(kept));
                        used = more;
                    }
                    if (dv)
                        transposed_times(s.keys, s.depth, rows, used, s.keys, from, s.ldy(), dv + s.v(b, g), s.ldv(),
                                         !first);
                    if (dp) add_to(d, dp + at, count);
                } else {
                    copy_to(d, dp + at, count);
                    if (dv && first) zero_rows(dv + s.v(b, g), s.keys, s.depth, s.ldv());
                }
                if (!dq && !dk && !dlogits) continue;
                const T factor = cap != 0 || dlogits ? T(1) : static_cast<T>(scale);
                for (dim r = 0; r < rows; ++r)
                    attend_gradient(p + at + r * s.keys, d + r * s.keys, s.keys, sight.visible(t0 + r),
                                    sight.row(t0 + r), factor);
                if (dlogits) copy_to(dlogits + at, d, count);
                if (cap != 0) {
                    times_columns(rows, s.keys, s.width, q + s.q(b, h, t0), s.ldq(), k + s.k(b, g), s.ldk(), more,
                                  s.keys);
                    uncap(d, more, count, static_cast<T>(scale), static_cast<T>(cap));
                } else if (dlogits) {
                    times_number(d, count, static_cast<T>(scale));
                }
                if (dq)
                    times_rows(rows, s.width, s.keys, d, s.keys, k + s.k(b, g), s.ldk(), dq + s.q(b, h, t0), s.ldq(),
                               false);
                if (dk)
                    transposed_times(s.keys, s.width, rows, d, s.keys, q + s.q(b, h, t0), s.ldq(), dk + s.k(b, g),
                                     s.ldk(), !first);
            }
        }
        if (first) {  // no query
            if (dk) zero_rows(dk + s.k(b, g), s.keys, s.width, s.ldk());
            if (dv) zero_rows(dv + s.v(b, g), s.keys, s.depth, s.ldv());
        }
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
