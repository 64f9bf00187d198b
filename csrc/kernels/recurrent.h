// Family recurrent: sequences through recurrent cells, in three parts: the inputs' products for all steps at once, the
// walk over time, and products over all steps for the gradients of the weights. A mask is read when the kernel runs:
// a masked step costs nothing in the walk, and the products leave out what lies before a row's first real step and
// after its last.
#pragma once
#include "kernels/recurrent_attending.h"
#include "kernels/recurrent_gru.h"
#include "kernels/recurrent_lstm.h"

namespace pydl::PYDL_ISA {
namespace {

// z(batch, steps, n) = x(batch, steps, k) kernel(k, n) + bias(n), undefined outside the real steps.
template <class T>
void recurrent_inputs(In<T> x, In<T> kernel, OptIn<T> bias, OptIn<std::uint8_t> mask, Out<T> z, dim batch, dim steps,
                      dim n, dim k) {
    multiply_spans<T>(x, kernel, bias, z, mask, batch, steps, n, k, false, false);
}
// dx(batch, steps, k) = dz(batch, steps, n) kernel(k, n)^T, zero outside the real steps.
template <class T>
void recurrent_dx(In<T> dz, In<T> kernel, OptIn<std::uint8_t> mask, Out<T> dx, dim batch, dim steps, dim n, dim k) {
    multiply_spans<T>(dz, kernel, nullptr, dx, mask, batch, steps, k, n, true, true);
}
// Gradients of the weights, over the real steps: dkernel(features, n) = x^T dz, drecurrent(units, n) = h'^T dz with the
// states h' that steps began with, times drop, and dbias(n), the sums of dz, or null. x (batch, steps, features); sequence
// (batch, steps, units) in the order of the walk.
template <class T>
void recurrent_dw(In<T> x, In<T> h0, In<T> sequence, In<T> dz, OptIn<std::uint8_t> mask, OptIn<T> drop, Out<T> dkernel,
                  Out<T> drecurrent, OptOut<T> dbias, dim batch, dim steps, dim features, dim units, dim n,
                  dim backwards) {
    const Walk w{batch, steps, units, backwards != 0, mask};
    const Factor<T> factors[2] = {{x, nullptr, nullptr, features, dkernel, n, n},
                                  {sequence, h0, drop, units, drecurrent, n, n}};
    weights_gradients<T>(w, factors, dz, n, n, dbias);
}

// dw(k, n) = left(batch, steps, k)^T dz(batch, steps, n), over the real steps.
template <class T>
void steps_dw(In<T> left, In<T> dz, OptIn<std::uint8_t> mask, Out<T> dw, dim batch, dim steps, dim k, dim n) {
    const Factor<T> factors[1] = {{left, nullptr, nullptr, k, dw, n, n}};
    weights_gradients<T>({batch, steps, 0, false, mask}, factors, dz, n, n, nullptr);
}

// -------------------------------------------------------------------------------------- simple cell

// Elman 1990: h = activation(inputs' part + h' R).
template <class T>
struct SimpleForward {
    static constexpr dim more = 0;
    const Walk& w;
    Panels<T> weights;
    dim columns;
    bool relu;
    const T* inputs;
    T* sequence;

    PYDL_INLINE void rest(dim, dim) const {}
    PYDL_INLINE void step(const Step<T>& at) const {
        const dim units = w.units;
        times_panels(at.count, at.a, at.stride, weights, at.wide, at.wide_stride);
        for (dim q = 0; q < at.count; ++q) {
            const dim r = at.active[q], b = at.begin + r;
            const T *z = at.wide + q * at.wide_stride, *input = inputs + (b * w.steps + w.time(at.s)) * units;
            T *y = sequence + (b * w.steps + at.s) * units, *h = at.h + r * at.stride;
            for (dim j = 0; j < units; j += lanes<T>) {
                const dim left = units - j;
                const vec<T> sum = load_upto(z + j, left) + load_upto(input + j, left);
                const vec<T> v = relu ? max(vec<T>{}, sum) : tanh(sum);
                store_upto(y + j, v, left);
                store_upto(h + j, v, left);
            }
        }
    }
};

// inputs (batch, steps, units): what the inputs add to the sums, bias included. sequence (batch, steps, units): h after
// each step. h0, last, drop (batch, units); recurrent (units, units); mask (batch, steps). activation: relu or tanh.
template <class T>
void simple_rnn(In<T> inputs, In<T> h0, In<T> recurrent, OptIn<std::uint8_t> mask, OptIn<T> drop, Out<T> sequence,
                Out<T> last, dim batch, dim steps, dim units, dim backwards, dim activation) {
    const Walk w{batch, steps, units, backwards != 0, mask};
    const Panels<T> weights{scratch<T>(Slot::recurrent_weights, Panels<T>::size(units, units)), units, units};
    weights.fill(RowsOfB<T>{recurrent, units, true});
    const SimpleForward<T> cell{w, weights, units, activation == act_relu, inputs, sequence};
    walk_forward<T>(w, h0, drop, sequence, last, cell);
}

template <class T>
struct SimpleBackward {
    static constexpr dim more = 0;
    const Walk& w;
    Panels<T> weights;
    dim columns;
    bool relu;
    const T *sequence, *drop;
    T* dz;

    PYDL_INLINE void begin(dim, T*) const {}
    PYDL_INLINE void end(dim, const T*) const {}
    PYDL_INLINE void rest(dim b, dim s) const { zero_row(dz + (b * w.steps + w.time(s)) * w.units, w.units); }
    PYDL_INLINE void step(const Step<T>& at) const {
        const dim units = w.units;
        for (dim q = 0; q < at.count; ++q) {
            const dim r = at.active[q], b = at.begin + r;
            const T *y = sequence + (b * w.steps + at.s) * units, *dh = at.h + r * at.stride;
            T *compact = at.wide + q * at.wide_stride, *out = dz + (b * w.steps + w.time(at.s)) * units;
            for (dim j = 0; j < units; j += lanes<T>) {
                const dim left = units - j;
                const vec<T> v = load_upto(y + j, left), d = load_upto(dh + j, left);
                const vec<T> z = relu ? times_derivative<T, act_relu>(v, d) : times_derivative<T, act_tanh>(v, d);
                store_upto(compact + j, z, left);
                store_upto(out + j, z, left);
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

// The gradient up to the products over all steps: dz (batch, steps, units), zero at masked steps. Null
// gradients count as zero.
template <class T>
void dsimple_rnn(In<T> h0, In<T> recurrent, OptIn<std::uint8_t> mask, OptIn<T> drop, In<T> sequence, OptIn<T> dsequence,
                 OptIn<T> dlast, Out<T> dz, Out<T> dh0, dim batch, dim steps, dim units, dim backwards,
                 dim activation) {
    const Walk w{batch, steps, units, backwards != 0, mask};
    const Panels<T> weights{scratch<T>(Slot::recurrent_weights, Panels<T>::size(units, units)), units, units};
    weights.fill(ColumnsOfB<T>{recurrent, units});
    const SimpleBackward<T> cell{w, weights, units, activation == act_relu, sequence, drop, dz};
    walk_backward<T>(w, h0, drop, sequence, dsequence, dlast, nullptr, dh0, cell);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
