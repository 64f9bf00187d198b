// Gated recurrent units (Cho et al. 2014). Gates in the order z, r, h:  h = z h' + (1 - z) tanh(.), where the reset gate
// r scales h' before the product with the recurrent weights, or (`after`) the product itself.
#pragma once
#include "kernels/recurrent_walk.h"

namespace pydl::PYDL_ISA {
namespace {

// Recurrent weights of the update and reset gates, and of the candidate.
template <class T>
struct GruWeights {
    Panels<T> gates, candidate;
};
// Transposed: for the gradient. `after`: one product for all, in `gates`.
template <class T>
PYDL_INLINE GruWeights<T> gru_weights(const T* recurrent, dim units, bool after, bool transposed) {
    const dim split = after ? 3 : 2;
    const auto panels = [=](T* at, dim first, dim count) {
        const Panels<T> p = transposed ? Panels<T>{at, count * units, units} : Panels<T>{at, units, count * units};
        if (transposed) p.fill(ColumnsOfB<T>{recurrent + first * units, 3 * units});
        else p.fill(RowsOfB<T>{recurrent + first * units, 3 * units, true});
        return p;
    };
    const dim size = transposed ? Panels<T>::size(split * units, units) : Panels<T>::size(units, split * units);
    T* at = scratch<T>(Slot::recurrent_weights, size + Panels<T>::size(units, units));
    GruWeights<T> weights{panels(at, 0, split), {}};
    if (!after) weights.candidate = panels(at + size, 2, 1);
    return weights;
}

template <class T>
struct GruForward {
    static constexpr dim more = 1;  // r h'
    const Walk& w;
    GruWeights<T> weights;
    dim columns;
    bool after;
    const T* bias;  // of the recurrent product, (3 units), or null
    T *gates, *inner, *sequence;

    PYDL_INLINE void rest(dim b, dim s) const {
        const dim row = b * w.steps + w.time(s);
        zero_row(gates + row * columns, columns);
        zero_row(inner + row * w.units, w.units);
    }
    PYDL_INLINE void step(const Step<T>& at) const {
        const dim units = w.units;
        times_panels(at.count, at.a, at.stride, weights.gates, at.wide, at.wide_stride);
        if (!after) {
            for (dim q = 0; q < at.count; ++q) {
                const T *z = at.wide + q * at.wide_stride, *a = at.a + q * at.stride;
                const T* gate = gates + row(at, q) * columns;
                for (dim j = 0; j < units; j += lanes<T>) {
                    const dim left = units - j, k = units + j;
                    const vec<T> r = sigmoid(load_upto(z + k, left) + load_upto(gate + k, left));
                    store_upto(at.more + q * at.stride + j, r * load_upto(a + j, left), left);
                }
            }
            times_panels(at.count, at.more, at.stride, weights.candidate, at.wide + 2 * units, at.wide_stride);
        }
        for (dim q = 0; q < at.count; ++q) {
            const dim b = at.begin + at.active[q];
            const T* product = at.wide + q * at.wide_stride;
            T *gate = gates + row(at, q) * columns, *h = at.h + at.active[q] * at.stride;
            T *kept = inner + row(at, q) * units, *y = sequence + (b * w.steps + at.s) * units;
            for (dim j = 0; j < units; j += lanes<T>) {
                const dim left = units - j;
                const auto recurrent = [=, this](dim k) __attribute__((always_inline)) {
                    const vec<T> v = load_upto(product + k * units + j, left);
                    return bias ? v + load_upto(bias + k * units + j, left) : v;
                };
                const auto input = [=](dim k)
                                       __attribute__((always_inline)) { return load_upto(gate + k * units + j, left); };
                const vec<T> z = sigmoid(recurrent(0) + input(0)), r = sigmoid(recurrent(1) + input(1));
                const vec<T> u = recurrent(2), n = tanh(after ? fma(r, u, input(2)) : u + input(2));
                const vec<T> v = fma(z, load_upto(h + j, left) - n, n);
                store_upto(gate + j, z, left);
                store_upto(gate + units + j, r, left);
                store_upto(gate + 2 * units + j, n, left);
                store_upto(kept + j, u, left);
                store_upto(y + j, v, left);
                store_upto(h + j, v, left);
            }
        }
    }
    PYDL_INLINE dim row(const Step<T>& at, dim q) const { return (at.begin + at.active[q]) * w.steps + w.time(at.s); }
};

// gates (batch, steps, 3 units): on entry the inputs' part of the sums; on return the gates' values, zero at masked
// steps. inner (batch, steps, units): the candidate's recurrent product. sequence (batch, steps, units): h after each
// step. h0, last_h, drop (batch, units); recurrent (units, 3 units); bias (2, 3 units), of which the second half
// belongs to the recurrent product, or null; mask (batch, steps).
template <class T>
void gru(InOut<T> gates, In<T> h0, In<T> recurrent, OptIn<T> bias, OptIn<std::uint8_t> mask, OptIn<T> drop,
         Out<T> sequence, Out<T> inner, Out<T> last_h, dim batch, dim steps, dim units, dim backwards, dim after) {
    const Walk w{batch, steps, units, backwards != 0, mask};
    const T* second = bias ? bias + 3 * units : nullptr;
    const GruForward<T> cell{
        w, gru_weights<T>(recurrent, units, after != 0, false), 3 * units, after != 0, second, gates, inner, sequence};
    walk_forward<T>(w, h0, drop, sequence, last_h, cell);
}

template <class T>
struct GruBackward {
    static constexpr dim more = 1;  // d(r h')
    const Walk& w;
    GruWeights<T> weights;
    dim columns;
    bool after;
    const T *h0, *gates, *inner, *sequence, *drop;
    const T* previous;
    T *dz, *dinner;

    PYDL_INLINE void begin(dim, T*) const {}
    PYDL_INLINE void end(dim, const T*) const {}
    PYDL_INLINE void rest(dim b, dim s) const {
        const dim row = b * w.steps + w.time(s);
        zero_row(dz + row * columns, columns);
        zero_row(dinner + row * w.units, w.units);
    }
    // dz, and in the wide room what flows back through the recurrent product. dinner: d(product of the candidate)
    // with `after`, r h' else.
    PYDL_INLINE void step(const Step<T>& at) const {
        const dim units = w.units;
        for (dim q = 0; q < at.count; ++q) {
            const dim r = at.active[q], b = at.begin + r, row = b * w.steps + w.time(at.s);
            const T *gate = gates + row * columns, *u = inner + row * units, *a = previous + row * units;
            const T* before = at.s > at.first[r] ? sequence + (b * w.steps + at.s - 1) * units : h0 + b * units;
            T *dh = at.h + r * at.stride, *compact = at.wide + q * at.wide_stride, *out = dz + row * columns;
            T* kept = dinner + row * units;
            for (dim j = 0; j < units; j += lanes<T>) {
                const dim left = units - j;
                const vec<T> z = load_upto(gate + j, left), reset = load_upto(gate + units + j, left);
                const vec<T> n = load_upto(gate + 2 * units + j, left), y = load_upto(dh + j, left);
                const vec<T> dn = y * (1 - z) * tanh_slope(n);
                const vec<T> d = y * (load_upto(before + j, left) - n) * sigmoid_slope(z);
                store_upto(dh + j, y * z, left);
                store_upto(out + j, d, left);
                store_upto(compact + j, d, left);
                store_upto(out + 2 * units + j, dn, left);
                if (after) {
                    const vec<T> dr = dn * load_upto(u + j, left) * sigmoid_slope(reset);
                    store_upto(out + units + j, dr, left);
                    store_upto(compact + units + j, dr, left);
                    store_upto(compact + 2 * units + j, dn * reset, left);
                    store_upto(kept + j, dn * reset, left);
                } else {
                    store_upto(compact + 2 * units + j, dn, left);
                    store_upto(kept + j, reset * load_upto(a + j, left), left);
                }
            }
        }
        if (!after) reset_before(at);
        times_panels(at.count, at.wide, at.wide_stride, weights.gates, at.a, at.stride);
        for (dim q = 0; q < at.count; ++q) {
            const dim r = at.active[q], b = at.begin + r, row = b * w.steps + w.time(at.s);
            T* dh = at.h + r * at.stride;
            for (dim j = 0; j < units; j += lanes<T>) {
                const dim left = units - j;
                vec<T> d = load_upto(at.a + q * at.stride + j, left);
                if (!after)
                    d = fma(load_upto(at.more + q * at.stride + j, left),
                            load_upto(gates + row * columns + units + j, left), d);
                if (drop) d = d * load_upto(drop + b * units + j, left);
                store_upto(dh + j, load_upto(dh + j, left) + d, left);
            }
        }
    }
    // d(r h') from the candidate, and what the reset gate gets of it.
    PYDL_INLINE void reset_before(const Step<T>& at) const {
        const dim units = w.units;
        times_panels(at.count, at.wide + 2 * units, at.wide_stride, weights.candidate, at.more, at.stride);
        for (dim q = 0; q < at.count; ++q) {
            const dim row = (at.begin + at.active[q]) * w.steps + w.time(at.s);
            for (dim j = 0; j < units; j += lanes<T>) {
                const dim left = units - j;
                const vec<T> r = load_upto(gates + row * columns + units + j, left);
                const vec<T> d = load_upto(at.more + q * at.stride + j, left) *
                                 load_upto(previous + row * units + j, left) * sigmoid_slope(r);
                store_upto(dz + row * columns + units + j, d, left);
                store_upto(at.wide + q * at.wide_stride + units + j, d, left);
            }
        }
    }
};

// The gradient up to the products over all steps: dz (batch, steps, 3 units) of the sums' input part, zero at masked
// steps; previous (batch, steps, units): the h each step began with, times drop; dinner (batch, steps, units): with
// `after` the gradient of the candidate's recurrent product, else that product's left factor r h'.
template <class T>
void dgru(In<T> gates, In<T> h0, In<T> recurrent, OptIn<std::uint8_t> mask, OptIn<T> drop, In<T> sequence, In<T> inner,
          OptIn<T> dsequence, OptIn<T> dlast_h, Out<T> dz, Out<T> dinner, Out<T> previous, Out<T> dh0, dim batch,
          dim steps, dim units, dim backwards, dim after) {
    const Walk w{batch, steps, units, backwards != 0, mask};
    const GruBackward<T> cell{w,         gru_weights<T>(recurrent, units, after != 0, true),
                              3 * units, after != 0,
                              h0,        gates,
                              inner,     sequence,
                              drop,      previous,
                              dz,        dinner};
    walk_backward<T>(w, h0, drop, sequence, dsequence, dlast_h, previous, dh0, cell);
}

// Gradients of the weights, from what dgru returned: dkernel (features, 3 units), drecurrent (units, 3 units), dbias
// (2, 3 units) with `after`, (3 units) without, or null.
template <class T>
void gru_dw(In<T> x, In<T> previous, In<T> dz, In<T> dinner, OptIn<std::uint8_t> mask, Out<T> dkernel,
            Out<T> drecurrent, OptOut<T> dbias, dim batch, dim steps, dim features, dim units, dim after) {
    const Walk w{batch, steps, units, false, mask};
    const dim n = 3 * units;
    const Factor<T> both[2] = {{x, nullptr, nullptr, features, dkernel, n, n},
                               {previous, nullptr, nullptr, units, drecurrent, n, 2 * units}};
    weights_gradients<T>(w, both, dz, n, n, dbias);
    const T *left = after ? previous : dinner, *right = after ? dinner : dz + 2 * units;
    const Factor<T> candidate[1] = {{left, nullptr, nullptr, units, drecurrent + 2 * units, n, units}};
    T *first = dbias, *second = first && after ? first + n : nullptr;
    if (second) copy_row(second, first, 2 * units);
    weights_gradients<T>(w, candidate, right, after ? units : n, units, second ? second + 2 * units : nullptr);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
