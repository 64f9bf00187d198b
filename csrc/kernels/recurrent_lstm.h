// Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000).
// Gates in the order i, f, c, o:  c = f c' + i tanh(.),  h = o tanh(c).
#pragma once
#include "kernels/recurrent_walk.h"

namespace pydl::PYDL_ISA {
namespace {

template <class T>
struct LstmForward {
    static constexpr dim more = 0;
    const Walk& w;
    Panels<T> weights;
    dim columns;
    const T* c0;
    T *gates, *sequence, *cells;

    PYDL_INLINE const T* cell_before(dim b, dim s) const {
        return s ? cells + (b * w.steps + s - 1) * w.units : c0 + b * w.units;
    }
    PYDL_INLINE void rest(dim b, dim s) const {
        zero_row(gates + (b * w.steps + w.time(s)) * columns, columns);
        copy_row(cells + (b * w.steps + s) * w.units, cell_before(b, s), w.units);
    }
    PYDL_INLINE void step(const Step<T>& at) const {
        const dim units = w.units;
        times_panels(at.count, at.a, at.stride, weights, at.wide, at.wide_stride);
        for (dim q = 0; q < at.count; ++q) {
            const dim r = at.active[q], b = at.begin + r, here = (b * w.steps + at.s) * units;
            const T *z = at.wide + q * at.wide_stride, *before = cell_before(b, at.s);
            T *gate = gates + (b * w.steps + w.time(at.s)) * columns, *h = at.h + r * at.stride;
            for (dim j = 0; j < units; j += lanes<T>) {
                const dim left = units - j;
                const auto sum = [=](dim k) __attribute__((always_inline)) {
                    return load_upto(z + k * units + j, left) + load_upto(gate + k * units + j, left);
                };
                const vec<T> i = sigmoid(sum(0)), f = sigmoid(sum(1)), g = tanh(sum(2)), o = sigmoid(sum(3));
                const vec<T> c = fma(f, load_upto(before + j, left), i * g), y = o * tanh(c);
                store_upto(gate + j, i, left);
                store_upto(gate + units + j, f, left);
                store_upto(gate + 2 * units + j, g, left);
                store_upto(gate + 3 * units + j, o, left);
                store_upto(cells + here + j, c, left);
                store_upto(sequence + here + j, y, left);
                store_upto(h + j, y, left);
            }
        }
    }
};

// gates (batch, steps, 4 units): on entry the inputs' part of the sums, bias included; on return the gates' values,
// zero at masked steps. sequence, cells (batch, steps, units): h and c after each step. h0, c0, last_h, last_c, drop
// (batch, units); recurrent (units, 4 units); mask (batch, steps).
template <class T>
void lstm(InOut<T> gates, In<T> h0, In<T> c0, In<T> recurrent, OptIn<std::uint8_t> mask, OptIn<T> drop, Out<T> sequence,
          Out<T> cells, Out<T> last_h, Out<T> last_c, dim batch, dim steps, dim units, dim backwards) {
    const Walk w{batch, steps, units, backwards != 0, mask};
    const dim columns = 4 * units;
    const Panels<T> weights{scratch<T>(Slot::recurrent_weights, Panels<T>::size(units, columns)), units, columns};
    weights.fill(RowsOfB<T>{recurrent, columns, true});
    const LstmForward<T> cell{w, weights, columns, c0, gates, sequence, cells};
    walk_forward<T>(w, h0, drop, sequence, last_h, cell);
    for (dim b = 0; b < batch; ++b) copy_row<T>(last_c + b * units, cell.cell_before(b, steps), units);
}

template <class T>
struct LstmBackward {
    static constexpr dim more = 1;  // dc
    const Walk& w;
    Panels<T> weights;
    dim columns;
    const T *c0, *gates, *cells, *drop, *dlast_c;
    T *dz, *dc0;

    PYDL_INLINE void begin(dim b, T* dc) const {
        dlast_c ? copy_row(dc, dlast_c + b * w.units, w.units) : zero_row(dc, w.units);
    }
    PYDL_INLINE void end(dim b, const T* dc) const { copy_row(dc0 + b * w.units, dc, w.units); }
    PYDL_INLINE void rest(dim b, dim s) const { zero_row(dz + (b * w.steps + w.time(s)) * columns, columns); }
    PYDL_INLINE void step(const Step<T>& at) const {
        const dim units = w.units;
        for (dim q = 0; q < at.count; ++q) {
            const dim r = at.active[q], b = at.begin + r, here = (b * w.steps + at.s) * units;
            const dim there = (b * w.steps + w.time(at.s)) * columns;
            const T *gate = gates + there, *c = cells + here, *before = at.s ? c - units : c0 + b * units;
            const T* dh = at.h + r * at.stride;
            T *dc = at.more + r * at.stride, *compact = at.wide + q * at.wide_stride, *out = dz + there;
            for (dim j = 0; j < units; j += lanes<T>) {
                const dim left = units - j;
                const vec<T> i = load_upto(gate + j, left), f = load_upto(gate + units + j, left);
                const vec<T> g = load_upto(gate + 2 * units + j, left), o = load_upto(gate + 3 * units + j, left);
                const vec<T> t = tanh(load_upto(c + j, left)), y = load_upto(dh + j, left);
                const vec<T> d = fma(y * o, tanh_slope(t), load_upto(dc + j, left));
                const vec<T> di = d * g * sigmoid_slope(i), df = d * load_upto(before + j, left) * sigmoid_slope(f);
                const vec<T> dg = d * i * tanh_slope(g), d_o = y * t * sigmoid_slope(o);
                store_upto(dc + j, d * f, left);
                for (T* to : {compact, out}) {
                    store_upto(to + j, di, left);
                    store_upto(to + units + j, df, left);
                    store_upto(to + 2 * units + j, dg, left);
                    store_upto(to + 3 * units + j, d_o, left);
                }
            }
        }
        times_panels(at.count, at.wide, at.wide_stride, weights, at.a, at.stride);
        for (dim q = 0; q < at.count; ++q) {
            const dim r = at.active[q];
            scaled_row(at.h + r * at.stride, at.a + q * at.stride, drop ? drop + (at.begin + r) * units : nullptr,
                       units);
        }
    }
};

// The gradient up to the products over all steps: dz (batch, steps, 4 units), zero at masked steps. Null
// gradients count as zero.
template <class T>
void dlstm(In<T> gates, In<T> h0, In<T> c0, In<T> recurrent, OptIn<std::uint8_t> mask, OptIn<T> drop, In<T> sequence,
           In<T> cells, OptIn<T> dsequence, OptIn<T> dlast_h, OptIn<T> dlast_c, Out<T> dz, Out<T> dh0, Out<T> dc0,
           dim batch, dim steps, dim units, dim backwards) {
    const Walk w{batch, steps, units, backwards != 0, mask};
    const dim columns = 4 * units;
    const Panels<T> weights{scratch<T>(Slot::recurrent_weights, Panels<T>::size(columns, units)), columns, units};
    weights.fill(ColumnsOfB<T>{recurrent, columns});
    const LstmBackward<T> cell{w, weights, columns, c0, gates, cells, drop, dlast_c, dz, dc0};
    walk_backward<T>(w, h0, drop, sequence, dsequence, dlast_h, nullptr, dh0, cell);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
