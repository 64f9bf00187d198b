// Recurrent cells that attend (Bahdanau, Cho and Bengio 2015). In front of each step of the walk
//      e_j = scale . tanh(h' query + key_j),   p = softmax(e),   c = sum_j p_j memory_j,   sums += c context,
// and the cell below takes its step with those sums. One walk for all steps: no thread waits for another, weights are
// packed once, and tanh costs one division (see Look).
#pragma once
#include "kernels/recurrent_gru.h"
#include "kernels/recurrent_lstm.h"

namespace pydl::PYDL_ISA {
namespace {

// What the rows of a batch look at: keys (batch, places, width), memory (batch, places, depth), scale (width), mask
// (batch, places) or null.
// All steps look at the same keys, so tanh(q + k) = 1 - 2 / (1 + e^2q e^2k), with e^2k made once: `factors`, as large as
// keys. It is good to 2 eps of 1 as long as no factor comes near the limits of T; rows with keys that do have safe = 0.
template <class T>
struct Look {
    dim places, width, depth;
    const T *keys, *memory, *scale;
    const std::uint8_t* mask;
    const T* factors;
    const std::uint8_t* safe;

    // to = e^(2 from); whether all |from| allow it.
    PYDL_INLINE static bool exponentials(T* to, const T* from, dim n) {
        PYDL_ISA::mask<T> fits = ~PYDL_ISA::mask<T>{};
        for (dim j = 0; j < n; j += lanes<T>) {
            const vec<T> x = load_upto(from + j, n - j);
            fits = fits & (abs(x) <= splat(T(20)));
            store_upto(to + j, exp(2 * x), n - j);
        }
        return !any(~fits);
    }
    static void prepare(const T* keys, T* factors, std::uint8_t* safe, dim batch, dim size) {
        parallel_for(batch, 4096 / (size + 1) + 1, [=](dim begin, dim end) {
            for (dim b = begin; b < end; ++b) safe[b] = exponentials(factors + b * size, keys + b * size, size);
        });
    }

    // f(tanh of two registers, rows of q, rows of keys): both as factors where they allow it.
    template <class F>
    PYDL_INLINE void with_tanh(dim b, const T* q, const F& f) const {
        T* fq = scratch<T>(Slot::attending_query, width + lanes<T>);
        if (exponentials(fq, q, width) && safe[b])
            f([](vec<T> x, vec<T> y) __attribute__((always_inline)) { return 1 - 2 / fma(x, y, splat(T(1))); }, fq,
              factors + b * places * width);
        else
            f([](vec<T> x, vec<T> y) __attribute__((always_inline)) { return tanh(x + y); }, q,
              keys + b * places * width);
    }
    PYDL_INLINE bool sees(dim b, dim j) const { return !mask || mask[b * places + j]; }

    // One row: q (width) -> p (places), c (depth). A row that sees nothing has p = 0.
    PYDL_INLINE void forward(dim b, const T* q, T* p, T* c) const {
        with_tanh(b, q, [=, this](auto tanh_of, const T* x, const T* y) __attribute__((always_inline)) {
            for (dim j = 0; j < places; ++j) {
                if (!sees(b, j)) continue;
                vec<T> sum = {};
                for (dim i = 0; i < width; i += lanes<T>)
                    sum = fma(load_upto(scale + i, width - i),
                              tanh_of(load_upto(x + i, width - i), load_upto(y + j * width + i, width - i)), sum);
                p[j] = horizontal_sum(sum);
            }
        });
        T top = minus_infinity<T>, total = 0;
        for (dim j = 0; j < places; ++j)
            if (sees(b, j)) top = p[j] > top ? p[j] : top;
        for (dim j = 0; j < places; j += lanes<T>)
            store_upto(p + j, exp(load_upto(p + j, places - j) - splat(top)), places - j);
        for (dim j = 0; j < places; ++j) {
            if (!sees(b, j)) p[j] = 0;
            total += p[j];
        }
        const T share = total > 0 || total != total ? 1 / total : 0;
        for (dim j = 0; j < places; ++j) p[j] *= share;
        const T* rows = memory + b * places * depth;
        for (dim i = 0; i < depth; i += lanes<T>) {
            vec<T> sum = {};
            for (dim j = 0; j < places; ++j) sum = fma(splat(p[j]), load_upto(rows + j * depth + i, depth - i), sum);
            store_upto(c + i, sum, depth - i);
        }
    }

    // dc (depth), dp (places) or null -> dq (width); adds to dkeys, dmemory, dscale of the row.
    PYDL_INLINE void backward(dim b, const T* q, const T* p, const T* dc, const T* dp, T* dq, T* dkeys, T* dmemory,
                              T* dscale) const {
        T* d = scratch<T>(Slot::attending_scores, places);
        const T* rows = memory + b * places * depth;
        T mean = 0;
        for (dim j = 0; j < places; ++j) {
            vec<T> sum = {};
            const vec<T> weight = splat(p[j]);
            if (sees(b, j))
                for (dim i = 0; i < depth; i += lanes<T>) {
                    const dim left = depth - i;
                    const vec<T> g = load_upto(dc + i, left);
                    sum = fma(load_upto(rows + j * depth + i, left), g, sum);
                    T* to = dmemory + j * depth + i;
                    store_upto(to, fma(weight, g, load_upto(to, left)), left);
                }
            d[j] = horizontal_sum(sum) + (dp ? dp[j] : 0);
            mean += p[j] * d[j];
        }
        for (dim j = 0; j < places; ++j) d[j] = p[j] * (d[j] - mean);
        with_tanh(b, q, [=, this](auto tanh_of, const T* x, const T* y) __attribute__((always_inline)) {
            for (dim i = 0; i < width; i += lanes<T>) {
                const dim left = width - i;
                const vec<T> at = load_upto(x + i, left), factor = load_upto(scale + i, left);
                vec<T> sum = {}, dfactor = {};
                for (dim j = 0; j < places; ++j) {
                    if (!sees(b, j)) continue;
                    const vec<T> t = tanh_of(at, load_upto(y + j * width + i, left)), g = splat(d[j]);
                    const vec<T> dx = g * factor * tanh_slope(t);
                    T* to = dkeys + j * width + i;
                    store_upto(to, load_upto(to, left) + dx, left);
                    dfactor = fma(g, t, dfactor);
                    sum += dx;
                }
                store_upto(dq + i, sum, left);
                store_upto(dscale + i, load_upto(dscale + i, left) + dfactor, left);
            }
        });
    }
};

// A cell (GruForward, LstmForward) that attends in front of its step; in the form walk_forward wants.
template <class T, class Cell>
struct AttendingForward {
    static constexpr dim more = Cell::more;
    const Walk& w;
    const Cell& cell;
    const Look<T>& look;
    dim columns;               // room: of the gates, or of a query
    Panels<T> query, context;  // (units, width), (depth, gates)
    T *gates, *queries, *contexts, *p;

    PYDL_INLINE void rest(dim b, dim s) const {
        const dim row = b * w.steps + s;
        zero_row(queries + row * look.width, look.width);
        zero_row(contexts + row * look.depth, look.depth);
        zero_row(p + row * look.places, look.places);
        cell.rest(b, s);
    }
    PYDL_INLINE void step(const Step<T>& at) const {
        const dim stride = odd_lines<T>(look.depth + lanes<T>), wide = at.wide_stride;
        T* rows = scratch<T>(Slot::attending_contexts, at.count * stride);
        times_panels(at.count, at.a, at.stride, query, at.wide, wide);
        for (dim q = 0; q < at.count; ++q) {
            const dim b = at.begin + at.active[q], row = b * w.steps + at.s;
            copy_row(queries + row * look.width, at.wide + q * wide, look.width);
            look.forward(b, queries + row * look.width, p + row * look.places, rows + q * stride);
            copy_row(contexts + row * look.depth, rows + q * stride, look.depth);
        }
        times_panels(at.count, rows, stride, context, at.wide, wide);
        for (dim q = 0; q < at.count; ++q)
            add_row(gates + ((at.begin + at.active[q]) * w.steps + at.s) * cell.columns, at.wide + q * wide,
                    cell.columns);
        cell.step(at);
    }
};

template <class T, class Cell>
struct AttendingBackward {
    static constexpr dim more = Cell::more;
    const Walk& w;
    const Cell& cell;
    const Look<T>& look;
    dim columns;
    Panels<T> query, context;  // transposed: (width, units), (gates, depth)
    const T *queries, *p, *dp, *dz;
    T *dqueries, *dkeys, *dmemory, *dscale;

    PYDL_INLINE void begin(dim b, T* more_of_cell) const {
        zero_row(dkeys + b * look.places * look.width, look.places * look.width);
        zero_row(dmemory + b * look.places * look.depth, look.places * look.depth);
        zero_row(dscale + b * look.width, look.width);
        cell.begin(b, more_of_cell);
    }
    PYDL_INLINE void end(dim b, const T* more_of_cell) const { cell.end(b, more_of_cell); }
    PYDL_INLINE void rest(dim b, dim s) const {
        zero_row(dqueries + (b * w.steps + s) * look.width, look.width);
        cell.rest(b, s);
    }
    PYDL_INLINE void step(const Step<T>& at) const {
        cell.step(at);
        const dim stride = odd_lines<T>(look.depth + lanes<T>), wide = at.wide_stride;
        T* rows = scratch<T>(Slot::attending_contexts, at.count * stride);
        const auto row_of = [&](dim q)
                                __attribute__((always_inline)) { return (at.begin + at.active[q]) * w.steps + at.s; };
        for (dim q = 0; q < at.count; ++q) copy_row(at.wide + q * wide, dz + row_of(q) * cell.columns, cell.columns);
        times_panels(at.count, at.wide, wide, context, rows, stride);
        for (dim q = 0; q < at.count; ++q) {
            const dim b = at.begin + at.active[q], row = row_of(q);
            T* dq = dqueries + row * look.width;
            look.backward(b, queries + row * look.width, p + row * look.places, rows + q * stride,
                          dp ? dp + row * look.places : nullptr, dq, dkeys + b * look.places * look.width,
                          dmemory + b * look.places * look.depth, dscale + b * look.width);
            copy_row(at.wide + q * wide, dq, look.width);
        }
        times_panels(at.count, at.wide, wide, query, at.a, at.stride);
        for (dim q = 0; q < at.count; ++q) add_row(at.h + at.active[q] * at.stride, at.a + q * at.stride, w.units);
    }
};

// The panels of both products around the attention.
template <class T>
PYDL_INLINE void attention_weights(Panels<T>& query, Panels<T>& context, const T* query_kernel, const T* context_kernel,
                                   dim units, dim width, dim depth, dim columns, bool transposed) {
    const dim size = transposed ? Panels<T>::size(width, units) : Panels<T>::size(units, width);
    const dim rest = transposed ? Panels<T>::size(columns, depth) : Panels<T>::size(depth, columns);
    T* at = scratch<T>(Slot::attending_weights, size + rest);
    if (transposed) {
        query = {at, width, units};
        context = {at + size, columns, depth};
        query.fill(ColumnsOfB<T>{query_kernel, width});
        context.fill(ColumnsOfB<T>{context_kernel, columns});
    } else {
        query = {at, units, width};
        context = {at + size, depth, columns};
        query.fill(RowsOfB<T>{query_kernel, width, true});
        context.fill(RowsOfB<T>{context_kernel, columns, true});
    }
}
PYDL_INLINE constexpr dim larger(dim a, dim b) { return a > b ? a : b; }

// sizes: batch, steps, units, places, width, depth, and for GRU `after`. As gru / lstm, and: keys (batch, places, width),
// memory (batch, places, depth), scale (width), query (units, width), context (depth, gates), memory_mask (batch,
// places). Returned for the gradient: queries (batch, steps, width), contexts (batch, steps, depth), factors as keys,
// safe (batch). p (batch, steps, places), zero at masked steps, as queries and contexts are.
template <class T>
void attending_gru(InOut<T> gates, In<T> h0, In<T> recurrent, OptIn<T> bias, OptIn<std::uint8_t> mask, In<T> keys,
                   In<T> memory, In<T> scale, In<T> query, In<T> context, OptIn<std::uint8_t> memory_mask,
                   Out<T> sequence, Out<T> inner, Out<T> last_h, Out<T> queries, Out<T> contexts, Out<T> p,
                   Out<T> factors, Out<std::uint8_t> safe, Dims sizes) {
    const dim batch = sizes[0], units = sizes[2], columns = 3 * units, width = sizes[4], depth = sizes[5];
    const bool after = sizes[6] != 0;
    const Walk w{batch, sizes[1], units, false, mask};
    const T* second = bias ? bias + columns : nullptr;
    const GruForward<T> cell{
        w, gru_weights<T>(recurrent, units, after, false), columns, after, second, gates, inner, sequence};
    Look<T>::prepare(keys, factors, safe, batch, sizes[3] * width);
    const Look<T> look{sizes[3], width, depth, keys, memory, scale, memory_mask, factors, safe};
    AttendingForward<T, GruForward<T>> both{w, cell, look, larger(columns, width), {}, {}, gates, queries, contexts, p};
    attention_weights<T>(both.query, both.context, query, context, units, width, depth, columns, false);
    walk_forward<T>(w, h0, nullptr, sequence, last_h, both);
}

template <class T>
void attending_lstm(InOut<T> gates, In<T> h0, In<T> c0, In<T> recurrent, OptIn<std::uint8_t> mask, In<T> keys,
                    In<T> memory, In<T> scale, In<T> query, In<T> context, OptIn<std::uint8_t> memory_mask,
                    Out<T> sequence, Out<T> cells, Out<T> last_h, Out<T> last_c, Out<T> queries, Out<T> contexts,
                    Out<T> p, Out<T> factors, Out<std::uint8_t> safe, Dims sizes) {
    const dim batch = sizes[0], steps = sizes[1], units = sizes[2], columns = 4 * units;
    const dim width = sizes[4], depth = sizes[5];
    const Walk w{batch, steps, units, false, mask};
    const Panels<T> weights{scratch<T>(Slot::recurrent_weights, Panels<T>::size(units, columns)), units, columns};
    weights.fill(RowsOfB<T>{recurrent, columns, true});
    const LstmForward<T> cell{w, weights, columns, c0, gates, sequence, cells};
    Look<T>::prepare(keys, factors, safe, batch, sizes[3] * width);
    const Look<T> look{sizes[3], width, depth, keys, memory, scale, memory_mask, factors, safe};
    AttendingForward<T, LstmForward<T>> both{w,       cell,     look, larger(columns, width), {}, {}, gates,
                                             queries, contexts, p};
    attention_weights<T>(both.query, both.context, query, context, units, width, depth, columns, false);
    walk_forward<T>(w, h0, nullptr, sequence, last_h, both);
    for (dim b = 0; b < batch; ++b) copy_row<T>(last_c + b * units, cell.cell_before(b, steps), units);
}

// Gradients up to the products over all steps: as dgru / dlstm, and dqueries (batch, steps, width), dkeys, dmemory,
// dscale (batch, width), to be summed over the batch. dsequence, dlast_*, dp may be null.
template <class T>
void dattending_gru(In<T> gates, In<T> h0, In<T> recurrent, OptIn<std::uint8_t> mask, In<T> sequence, In<T> inner,
                    OptIn<T> dsequence, OptIn<T> dlast_h, In<T> keys, In<T> memory, In<T> scale, In<T> query,
                    In<T> context, OptIn<std::uint8_t> memory_mask, In<T> queries, In<T> p, In<T> factors,
                    In<std::uint8_t> safe, OptIn<T> dp, Out<T> dz, Out<T> dinner, Out<T> previous, Out<T> dh0,
                    Out<T> dqueries, Out<T> dkeys, Out<T> dmemory, Out<T> dscale, Dims sizes) {
    const dim units = sizes[2], columns = 3 * units, width = sizes[4], depth = sizes[5];
    const bool after = sizes[6] != 0;
    const Walk w{sizes[0], sizes[1], units, false, mask};
    const GruBackward<T> cell{w,       gru_weights<T>(recurrent, units, after, true),
                              columns, after,
                              h0,      gates,
                              inner,   sequence,
                              nullptr, previous,
                              dz,      dinner};
    const Look<T> look{sizes[3], width, depth, keys, memory, scale, memory_mask, factors, safe};
    AttendingBackward<T, GruBackward<T>> both{
        w, cell, look, larger(columns, width), {}, {}, queries, p, dp, dz, dqueries, dkeys, dmemory, dscale};
    attention_weights<T>(both.query, both.context, query, context, units, width, depth, columns, true);
    walk_backward<T>(w, h0, nullptr, sequence, dsequence, dlast_h, previous, dh0, both);
}

template <class T>
void dattending_lstm(In<T> gates, In<T> h0, In<T> c0, In<T> recurrent, OptIn<std::uint8_t> mask, In<T> sequence,
                     In<T> cells, OptIn<T> dsequence, OptIn<T> dlast_h, OptIn<T> dlast_c, In<T> keys, In<T> memory,
                     In<T> scale, In<T> query, In<T> context, OptIn<std::uint8_t> memory_mask, In<T> queries, In<T> p,
                     In<T> factors, In<std::uint8_t> safe, OptIn<T> dp, Out<T> dz, Out<T> previous, Out<T> dh0,
                     Out<T> dc0, Out<T> dqueries, Out<T> dkeys, Out<T> dmemory, Out<T> dscale, Dims sizes) {
    const dim units = sizes[2], columns = 4 * units, width = sizes[4], depth = sizes[5];
    const Walk w{sizes[0], sizes[1], units, false, mask};
    const Panels<T> weights{scratch<T>(Slot::recurrent_weights, Panels<T>::size(columns, units)), columns, units};
    weights.fill(ColumnsOfB<T>{recurrent, columns});
    const LstmBackward<T> cell{w, weights, columns, c0, gates, cells, nullptr, dlast_c, dz, dc0};
    const Look<T> look{sizes[3], width, depth, keys, memory, scale, memory_mask, factors, safe};
    AttendingBackward<T, LstmBackward<T>> both{
        w, cell, look, larger(columns, width), {}, {}, queries, p, dp, dz, dqueries, dkeys, dmemory, dscale};
    attention_weights<T>(both.query, both.context, query, context, units, width, depth, columns, true);
    walk_backward<T>(w, h0, nullptr, sequence, dsequence, dlast_h, previous, dh0, both);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
