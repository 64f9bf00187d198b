// Max and average pooling of channels-last data (batch, z, y, x, channels) over up to three spatial axes; the lanes of
// a register are neighbouring channels. Geometry: the 18 numbers of `Window.flat` (pydl/ops/_window.py); a stride of 0
// asks for adaptive windows, which share the input out among the outputs. Windows are clipped to the input: padding is
// never a maximum and never counted in an average.
#pragma once
#include "kernels/rows.h"

namespace pydl::PYDL_ISA {
namespace {

constexpr dim pool_task = 32768;  // elements of the larger array, about 10 us

// The windows along one axis: `output` ranges [first(o), last(o)) of `input` places.
struct PoolAxis {
    dim input, output, size, stride, before;
    PYDL_INLINE dim first(dim o) const { return stride ? most(o * stride - before, dim{0}) : o * input / output; }
    PYDL_INLINE dim last(dim o) const {
        return stride ? least(o * stride - before + size, input) : ceil_div((o + 1) * input, output);
    }
    // Whether no place lies in two windows.
    PYDL_INLINE bool apart() const { return stride ? stride >= size : input % output == 0; }
    // Whether every place lies in exactly one window.
    PYDL_INLINE bool tiled() const {
        return apart() && (stride == 0 || (stride == size && before == 0 && input == output * size));
    }
    // Whether every window lies inside the input, so that they are all alike.
    PYDL_INLINE bool whole() const { return stride && before == 0 && (output - 1) * stride + size <= input; }
    // Where windows are apart: window o is alone with the places [own(o), own(o + 1)).
    PYDL_INLINE dim own(dim o) const { return o == 0 ? 0 : o == output ? input : first(o); }
};

struct Pool {
    dim batch, channels;
    PoolAxis z, y, x;
    PYDL_INLINE Pool(dim batch_, dim channels_, Dims w) : batch(batch_), channels(channels_) {
        const auto axis = [w](dim a) { return PoolAxis{w[a], w[3 + a], w[6 + a], w[9 + a], w[15 + a]}; };
        z = axis(0);
        y = axis(1);
        x = axis(2);
    }
    PYDL_INLINE dim rows() const { return batch * z.output * y.output; }  // of outputs
    // Calls f(begin, end) on ranges of `units` equal parts of the input, in parallel.
    template <class F>
    PYDL_INLINE void share(dim units, F f) const {
        const dim elements = batch * z.input * y.input * x.input * channels;
        parallel_for(units, most(pool_task * units / most(elements, dim{1}), dim{1}), f);
    }
};

// The places of a clipped window, as distances from its first one, in order.
struct Taps {
    static constexpr bool two_by_two = false;
    dim planes, rows, columns, plane_step, row_step, step;
    PYDL_INLINE dim count() const { return planes * rows * columns; }
    template <class F>
    PYDL_INLINE void each(const F& f) const {
        for (dim k = 0; k < planes; ++k)
            for (dim j = 0; j < rows; ++j)
                for (dim i = 0; i < columns; ++i) f(k * plane_step + j * row_step + i * step);
    }
};

// A window of one plane whose sizes the compiler knows.
template <dim rows, dim columns>
struct FixedTaps {
    static constexpr bool two_by_two = rows == 2 && columns == 2;
    dim row_step, step;
    PYDL_INLINE static constexpr dim count() { return rows * columns; }
    template <class F>
    PYDL_INLINE void each(const F& f) const {
        PYDL_UNROLL for (dim j = 0; j < rows; ++j) PYDL_UNROLL for (dim i = 0; i < columns; ++i)
            f(j * row_step + i * step);
    }
};

// f(first place in the input, place in the output, taps) for every window of output rows [begin, end).
template <class F>
PYDL_INLINE void for_each_window(const Pool& p, dim begin, dim end, const F& f) {
    const dim step = p.channels, row_step = p.x.input * step, plane_step = p.y.input * row_step;
    for (dim r = begin; r < end; ++r) {
        const dim oy = r % p.y.output, oz = r / p.y.output % p.z.output, image = r / p.y.output / p.z.output;
        const dim z = p.z.first(oz), y = p.y.first(oy), planes = p.z.last(oz) - z, rows = p.y.last(oy) - y;
        const dim from = (image * p.z.input + z) * plane_step + y * row_step;
        dim out = r * p.x.output * step;
        if (p.x.whole() && planes == 1 && rows == 2 && p.x.size == 2) {
            for (dim at = from, end = out + p.x.output * step; out < end; at += p.x.stride * step, out += step)
                f(at, out, FixedTaps<2, 2>{row_step, step});
            continue;
        }
        for (dim ox = 0; ox < p.x.output; ++ox, out += step) {
            const dim x = p.x.first(ox), columns = p.x.last(ox) - x;
            const dim at = from + x * step;
            if (planes == 1 && rows == 2 && columns == 2) f(at, out, FixedTaps<2, 2>{row_step, step});
            else if (planes == 1 && rows == 3 && columns == 3) f(at, out, FixedTaps<3, 3>{row_step, step});
            else f(at, out, Taps{planes, rows, columns, plane_step, row_step, step});
        }
    }
}

// A row of a 2 x 2 window whose two pixels fit one register: what brings the values of one pixel to the lanes of both.
template <class T>
struct Pair {
    mask<T> left, right;  // lane numbers of the left and the right pixel, for either
    mask<T> is_right;
    PYDL_INLINE explicit Pair(dim channels) {
        PYDL_UNROLL for (dim i = 0; i < lanes<T>; ++i) {
            left[i] = static_cast<int_of<T>>(i % channels);
            right[i] = static_cast<int_of<T>>(channels + i % channels);
            is_right[i] = i < channels ? 0 : -1;
        }
    }
};

// f(c, n) for registers of n channels from c on.
template <class T, class F>
PYDL_INLINE void for_channels(dim channels, const F& f) {
    dim c = 0;
    for (; c + lanes<T> <= channels; c += lanes<T>) f(c, lanes<T>);
    if (c < channels) f(c, channels - c);
}

// x (batch, inputs..., channels) -> y (batch, outputs..., channels), the largest of each window; NaN where one is.
template <class T>
void max_pool(In<T> x, Out<T> y, dim batch, dim channels, Dims window) {
    const Pool p(batch, channels, window);
    p.share(p.rows(), [=](dim begin, dim end) {
        const Pair<T> pair(most(channels, dim{1}));
        for_each_window(p, begin, end, [=](dim at, dim out, auto taps) __attribute__((always_inline)) {
            if constexpr (taps.two_by_two)
                if (2 * channels <= lanes<T>) {
                    const vec<T> m =
                        max_nan(load_partial(x + at, 2 * channels), load_partial(x + at + taps.row_step, 2 * channels));
                    return store_partial(y + out, max_nan(m, permute(m, pair.right)), channels);
                }
            for_channels<T>(channels, [=](dim c, dim n) __attribute__((always_inline)) {
                vec<T> m = load_upto(x + at + c, n);
                taps.each([&](dim offset) __attribute__((always_inline)) {
                    if (offset != 0) m = max_nan(m, load_upto(x + at + offset + c, n));
                });
                store_upto(y + out + c, m, n);
            });
        });
    });
}

// x as above, y (batch, outputs..., channels) -> y, the mean of each window's places.
template <class T>
void average_pool(In<T> x, Out<T> y, dim batch, dim channels, Dims window) {
    const Pool p(batch, channels, window);
    p.share(p.rows(), [=](dim begin, dim end) {
        for_each_window(p, begin, end, [=](dim at, dim out, auto taps) __attribute__((always_inline)) {
            const T share = T(1) / static_cast<T>(taps.count());
            for_channels<T>(channels, [=](dim c, dim n) __attribute__((always_inline)) {
                vec<T> sum = {};
                taps.each([&](dim offset) __attribute__((always_inline)) { sum += load_upto(x + at + offset + c, n); });
                store_upto(y + out + c, sum * share, n);
            });
        });
    });
}

// Gradients: spread<add>(at, out, taps) writes (add: adds) the window's share to its places in dx. Windows that
// share no rows are tasks of their own, otherwise whole images are; places of no window are zero.
template <class T, class F>
PYDL_INLINE void spread_windows(const Pool& p, T* dx, const F& spread) {
    const bool by_row = p.z.apart() && p.y.apart(), add = !by_row || !p.x.apart();
    const bool clear = add || !p.z.tiled() || !p.y.tiled() || !p.x.tiled();
    const dim per_unit = by_row ? 1 : p.z.output * p.y.output;
    const dim row = p.x.input * p.channels, plane = p.y.input * row;
    if (p.rows() * p.x.output == 0) {
        __builtin_memset(dx, 0, static_cast<std::size_t>(p.batch * p.z.input * plane) * sizeof(T));
        return;
    }
    p.share(p.rows() / per_unit, [=](dim begin, dim end) {
        for (dim unit = begin; unit < end; ++unit) {
            const dim r = unit * per_unit, oy = r % p.y.output, oz = r / p.y.output % p.z.output;
            const dim image = r / p.y.output / p.z.output;
            const dim z_end = by_row ? p.z.own(oz + 1) : p.z.input, y_end = by_row ? p.y.own(oy + 1) : p.y.input;
            if (clear)
                for (dim z = p.z.own(oz); z < z_end; ++z) {
                    T* at = dx + (image * p.z.input + z) * plane + p.y.own(oy) * row;
                    __builtin_memset(at, 0, static_cast<std::size_t>((y_end - p.y.own(oy)) * row) * sizeof(T));
                }
            const auto put = [&](dim place, vec<T> v, dim n)
                                 __attribute__((always_inline)) { store_upto(dx + place, v, n); };
            const auto add_to = [&](dim place, vec<T> v, dim n) __attribute__((always_inline)) {
                store_upto(dx + place, load_upto(dx + place, n) + v, n);
            };
            for_each_window(p, r, r + per_unit, [&](dim at, dim out, auto taps) __attribute__((always_inline)) {
                if (add) spread(at, out, taps, add_to);
                else spread(at, out, taps, put);
            });
        }
    });
}

// x, y of max_pool, dy like y -> dx like x: dy goes to the first place of its window that is the maximum.
template <class T>
void max_pool_grad(In<T> x, In<T> y, In<T> dy, Out<T> dx, dim batch, dim channels, Dims window) {
    const Pool p(batch, channels, window);
    const Pair<T> pair(most(channels, dim{1}));
    spread_windows<T>(p, dx, [=](dim at, dim out, auto taps, const auto& put) __attribute__((always_inline)) {
        if constexpr (taps.two_by_two)
            if (2 * channels <= lanes<T>) {
                const vec<T> m = permute(load_partial(y + out, channels), pair.left);
                const vec<T> d = permute(load_partial(dy + out, channels), pair.left);
                const vec<T> upper = load_partial(x + at, 2 * channels);
                const vec<T> lower = load_partial(x + at + taps.row_step, 2 * channels);
                const mask<T> hit = (upper == m) | (upper != upper), low_hit = (lower == m) | (lower != lower);
                const mask<T> before = permute(hit, pair.left), taken = before | permute(hit, pair.right);
                const mask<T> low_before = taken | (permute(low_hit, pair.left) & pair.is_right);
                put(at, hit & ~(before & pair.is_right) ? d : vec<T>{}, 2 * channels);
                return put(at + taps.row_step, low_hit & ~low_before ? d : vec<T>{}, 2 * channels);
            }
        for_channels<T>(channels, [&](dim c, dim n) __attribute__((always_inline)) {
            const vec<T> m = load_upto(y + out + c, n);
            vec<T> left = load_upto(dy + out + c, n);
            taps.each([&](dim offset) __attribute__((always_inline)) {
                const vec<T> v = load_upto(x + at + offset + c, n);
                const auto hit = (v == m) | (v != v);
                put(at + offset + c, hit ? left : vec<T>{}, n);
                left = hit ? vec<T>{} : left;
            });
        });
    });
}

// dy like y of average_pool -> dx like its x: an equal share of dy to each place of the window.
template <class T>
void average_pool_grad(In<T> dy, Out<T> dx, dim batch, dim channels, Dims window) {
    const Pool p(batch, channels, window);
    spread_windows<T>(p, dx, [=](dim at, dim out, auto taps, const auto& put) __attribute__((always_inline)) {
        const T share = T(1) / static_cast<T>(taps.count());
        for_channels<T>(channels, [&](dim c, dim n) __attribute__((always_inline)) {
            const vec<T> v = load_upto(dy + out + c, n) * share;
            taps.each([&](dim offset) __attribute__((always_inline)) { put(at + offset + c, v, n); });
        });
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
