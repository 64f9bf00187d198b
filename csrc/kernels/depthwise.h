// Family depthwise: every channel is convolved with a filter of its own. Data is (batch, d, h, w, channels), filters
// (kd, kh, kw, channels); the lanes of a register are neighbouring channels.
//
// Position o of the result sees with tap k the element o stride + k dilation - before of the input. The gradient of the
// input asks the other way round which results saw an element. Both are the same loop: along one axis the taps that see
// anything at a position are an arithmetic progression, and so is what they see. Positions with the same taps form a
// run (the inside of a line; its first and last positions, where padding begins; with strides, the gradient's
// phases), and the positions of a run are computed up to four at a time, which share each load of the filter.
#pragma once
#include "kernels/matmul.h"

namespace pydl::PYDL_ISA {
namespace {

struct Axis {
    dim inputs, outputs, taps, stride, dilation, before;
};

// The Dims of a window: inputs, outputs, taps, strides, dilation, padding in front, three axes each.
PYDL_INLINE Axis axis_of(Dims window, int a) {
    return {window[a], window[3 + a], window[6 + a], window[9 + a], window[12 + a], window[15 + a]};
}

// Forward: a position of the result -> the element of the input that tap k sees; backward: an element of the input ->
// the position of the result that saw it with tap k. -1: none.
template <bool Backward>
PYDL_INLINE dim seen_by(const Axis& axis, dim position, dim k) {
    if constexpr (Backward) {
        const dim reach = position + axis.before - k * axis.dilation;
        return reach < 0 || reach % axis.stride || reach / axis.stride >= axis.outputs ? -1 : reach / axis.stride;
    } else {
        const dim element = position * axis.stride + k * axis.dilation - axis.before;
        return element >= axis.inputs ? -1 : element;
    }
}

// The taps first, first + step, ... that see something: the first of them `seen`, each next one `hop` further.
struct Taps {
    dim count, first, step, seen, hop;
};
template <bool Backward>
Taps taps_at(const Axis& axis, dim position) {
    Taps t = {};
    for (dim k = 0; k < axis.taps; ++k) {
        const dim seen = seen_by<Backward>(axis, position, k);
        if (seen < 0) continue;
        if (t.count == 0) t = {0, k, 0, seen, 0};
        if (t.count == 1) t = {1, t.first, k - t.first, t.seen, seen - t.seen};
        ++t.count;
    }
    return t;
}

// The positions start, start + every, ... whose taps are `taps`; what is seen moves by `shift` from one to the next.
struct PositionRun {
    dim start, length;
    Taps taps;
};
struct Line {
    const PositionRun* runs;
    dim count, every, shift;
};
template <bool Backward>
Line cut_line(const Axis& axis) {
    const dim size = Backward ? axis.inputs : axis.outputs, every = Backward ? axis.stride : 1;
    auto* runs = scratch<PositionRun>(Slot::tap_runs, size);
    dim count = 0;
    for (dim phase = 0; phase < least(every, size); ++phase)
        for (dim p = phase; p < size; p += every) {
            const Taps t = taps_at<Backward>(axis, p);
            if (p > phase && t.count == runs[count - 1].taps.count && t.first == runs[count - 1].taps.first)
                ++runs[count - 1].length;
            else runs[count++] = {p, 1, t};
        }
    return {runs, count, every, Backward ? 1 : axis.stride};
}

// How far one tap further lies in the data and in the filters, for one axis.
struct Hop {
    dim count, data, filter;
};

// Vectors of channels that a block computes at once: with four positions or three taps they fill the registers, and
// memory is read in longer pieces (4 instead of 1: forward 1.4x faster, kernel gradient 1.5x, on 16x56x56x64).
#if defined(__AVX512F__)
constexpr int wide = 4;
#else
constexpr int wide = 2;
#endif

// R positions and V vectors of channels, the last of `last` lanes: y = max(bias + sum over taps of x w, floor).
template <class T, int R, int V, bool Partial>
[[gnu::noinline]] void block(const T* x, dim x_next, const T* w, const Hop (&hops)[3], const T* bias, T floor, T* y,
                             dim y_next, dim last) {
    constexpr dim L = lanes<T>;
    const auto get = [=](const T* p, int v) __attribute__((always_inline)) {
        return Partial && v == V - 1 ? load_partial(p + v * L, last) : load(p + v * L);
    };
    vec<T> acc[R][V];
    PYDL_UNROLL for (int r = 0; r < R; ++r) {
        PYDL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = bias ? get(bias, v) : vec<T>{};
    }
    for (dim i = 0; i < hops[0].count; ++i)
        for (dim j = 0; j < hops[1].count; ++j) {
            const T* xs = x + i * hops[0].data + j * hops[1].data;
            const T* ws = w + i * hops[0].filter + j * hops[1].filter;
            for (dim k = 0; k < hops[2].count; ++k, xs += hops[2].data, ws += hops[2].filter) {
                vec<T> tap[V];
                PYDL_UNROLL for (int v = 0; v < V; ++v) tap[v] = get(ws, v);
                PYDL_UNROLL for (int r = 0; r < R; ++r) {
                    PYDL_UNROLL for (int v = 0; v < V; ++v) acc[r][v] = fma(get(xs + r * x_next, v), tap[v], acc[r][v]);
                }
            }
        }
    PYDL_UNROLL for (int r = 0; r < R; ++r) {
        PYDL_UNROLL for (int v = 0; v < V; ++v) {
            const vec<T> value = max(splat(floor), acc[r][v]);
            if (Partial && v == V - 1) store_partial(y + r * y_next + v * L, value, last);
            else store(y + r * y_next + v * L, value);
        }
    }
}

// All channels of R positions.
template <class T, int R>
void strip(const T* x, dim x_next, const T* w, const Hop (&hops)[3], const T* bias, T floor, T* y, dim y_next,
           dim channels) {
    constexpr dim L = lanes<T>;
    dim c = 0;
    const auto vectors = [&]<int V, bool Partial>() {
        block<T, R, V, Partial>(x + c, x_next, w + c, hops, bias ? bias + c : nullptr, floor, y + c, y_next,
                                channels - c);
        c += V * L;
    };
    while (c + wide * L <= channels) vectors.template operator()<wide, false>();
    while (c + L <= channels) vectors.template operator()<1, false>();
    if (c < channels) vectors.template operator()<1, true>();
}

// y = x seen through the taps, forward or backward; sizes of x and y are each other's inputs and outputs.
template <class T, bool Backward>
void convolve_channels(const T* x, const T* w, T* y, dim batch, dim channels, Dims window, const Result<T>& result) {
    const Axis axis[3] = {axis_of(window, 0), axis_of(window, 1), axis_of(window, 2)};
    const auto size_x = [&](int a) { return Backward ? axis[a].outputs : axis[a].inputs; };
    const auto size_y = [&](int a) { return Backward ? axis[a].inputs : axis[a].outputs; };
    const dim x_pixel[3] = {size_x(1) * size_x(2) * channels, size_x(2) * channels, channels};
    const dim w_tap[3] = {axis[1].taps * axis[2].taps * channels, axis[2].taps * channels, channels};
    const dim row = size_y(2) * channels, work = 2 * row * axis[0].taps * axis[1].taps * axis[2].taps;
    const Line line = cut_line<Backward>(axis[2]);
    parallel_for(batch * size_y(0) * size_y(1), part_work / (work + 1) + 1, [&](dim begin, dim end) {
        for (dim l = begin; l < end; ++l) {
            const dim image = l / (size_y(0) * size_y(1));
            const Taps depth = taps_at<Backward>(axis[0], l / size_y(1) % size_y(0));
            const Taps height = taps_at<Backward>(axis[1], l % size_y(1));
            for (dim i = 0; i < line.count; ++i) {
                const PositionRun& run = line.runs[i];
                const Taps* taps[3] = {&depth, &height, &run.taps};
                const T *xs = x + image * size_x(0) * x_pixel[0], *ws = w;
                Hop hops[3];
                for (int a = 0; a < 3; ++a) {
                    xs += taps[a]->seen * x_pixel[a];
                    ws += taps[a]->first * w_tap[a];
                    hops[a] = {taps[a]->count, taps[a]->hop * x_pixel[a], taps[a]->step * w_tap[a]};
                }
                T* ys = y + l * row + run.start * channels;
                const dim x_next = line.shift * channels, y_next = line.every * channels;
                const auto some = [&]<int R>() {
                    strip<T, R>(xs, x_next, ws, hops, result.bias, result.floor, ys, y_next, channels);
                    xs += R * x_next;
                    ys += R * y_next;
                };
                for (dim left = run.length; left >= 4; left -= 4) some.template operator()<4>();
                if (run.length & 2) some.template operator()<2>();
                if (run.length & 1) some.template operator()<1>();
            }
            if (result.finish) result.finish(y + l * row, size_y(2), channels, channels);
        }
    });
}

// y(batch, outputs, channels) = activation(x(batch, inputs, channels) * w(taps, channels) + bias(channels)).
template <class T>
void depthwise(In<T> x, In<T> w, OptIn<T> bias, Out<T> y, dim batch, dim channels, Dims window, dim activation) {
    convolve_channels<T, false>(x, w, y, batch, channels, window, result_of<T>(y, channels, bias, false, activation));
}

// dx(batch, inputs, channels) of dy(batch, outputs, channels).
template <class T>
void depthwise_input_grad(In<T> dy, In<T> w, Out<T> dx, dim batch, dim channels, Dims window) {
    convolve_channels<T, true>(dy, w, dx, batch, channels, window,
                               result_of<T>(dx, channels, nullptr, false, act_linear));
}

// V vectors of channels, the last of `last` lanes: dw_j += sum over n positions of dy x_j, for J taps.
template <class T, int J, int V, bool Partial>
[[gnu::noinline]] void sum_block(const T* const* x, dim c, dim x_next, const T* dy, dim dy_next, dim n, T* const* dw,
                                 dim last) {
    constexpr dim L = lanes<T>;
    const auto get = [=](const T* p, int v) __attribute__((always_inline)) {
        return Partial && v == V - 1 ? load_partial(p + v * L, last) : load(p + v * L);
    };
    const T* from[J];
    PYDL_UNROLL for (int j = 0; j < J; ++j) from[j] = x[j] + c;
    vec<T> acc[J][V];
    PYDL_UNROLL for (int j = 0; j < J; ++j) { PYDL_UNROLL for (int v = 0; v < V; ++v) acc[j][v] = vec<T>{}; }
    dy += c;
    for (dim r = 0, at = 0; r < n; ++r, at += x_next, dy += dy_next) {
        vec<T> d[V];
        PYDL_UNROLL for (int v = 0; v < V; ++v) d[v] = get(dy, v);
        PYDL_UNROLL for (int j = 0; j < J; ++j) {
            PYDL_UNROLL for (int v = 0; v < V; ++v) acc[j][v] = fma(d[v], get(from[j] + at, v), acc[j][v]);
        }
    }
    PYDL_UNROLL for (int j = 0; j < J; ++j) {
        PYDL_UNROLL for (int v = 0; v < V; ++v) {
            T* to = dw[j] + c + v * L;
            if (Partial && v == V - 1) store_partial(to, load_partial(to, last) + acc[j][v], last);
            else store(to, load(to) + acc[j][v]);
        }
    }
}
template <class T, int J>
void tap_sums(const T* const* x, dim x_next, const T* dy, dim n, T* const* dw, dim channels) {
    constexpr dim L = lanes<T>;
    dim c = 0;
    const auto vectors = [&]<int V, bool Partial>() {
        sum_block<T, J, V, Partial>(x, c, x_next, dy, channels, n, dw, channels - c);
        c += V * L;
    };
    while (c + wide * L <= channels) vectors.template operator()<wide, false>();
    while (c + L <= channels) vectors.template operator()<1, false>();
    if (c < channels) vectors.template operator()<1, true>();
}
constexpr int most_taps = 3;
template <class T>
using TapSums = void (*)(const T* const*, dim, const T*, dim, T* const*, dim);
template <class T>
constexpr auto tap_sums_of = []<std::size_t... J>(std::index_sequence<J...>) {
    struct {
        TapSums<T> of[most_taps];
    } table = {{tap_sums<T, J + 1>...}};
    return table;
}(std::make_index_sequence<most_taps>{});

// total(channels) += sum over n positions of x.
template <class T>
void add_positions(const T* x, dim n, dim channels, T* total) {
    for (dim c = 0; c < channels; c += lanes<T>) {
        const dim left = channels - c;
        vec<T> sum = {};
        for (dim r = 0; r < n; ++r) sum = sum + load_upto(x + r * channels + c, left);
        store_upto(total + c, load_upto(total + c, left) + sum, left);
    }
}

// dw(taps, channels), db(channels; null: not wanted) of dy(batch, outputs, channels): sums over all positions, first
// over runs, then over the lines of a part, then over parts.
template <class T>
void depthwise_kernel_grad(In<T> x, In<T> dy, Out<T> dw, OptOut<T> db, dim batch, dim channels, Dims window) {
    const Axis axis[3] = {axis_of(window, 0), axis_of(window, 1), axis_of(window, 2)};
    const dim taps = axis[0].taps * axis[1].taps * axis[2].taps, size = (taps + 1) * channels;
    const dim row = axis[2].outputs * channels, lines = batch * axis[0].outputs * axis[1].outputs;
    const dim x_row = axis[2].inputs * channels, x_plane = axis[1].inputs * x_row;
    if (lines * row == 0) {
        __builtin_memset(dw, 0, static_cast<std::size_t>(taps * channels) * sizeof(T));
        if (db) __builtin_memset(db, 0, static_cast<std::size_t>(channels) * sizeof(T));
        return;
    }
    const Line line = cut_line<false>(axis[2]);
    const dim enough = part_work / (2 * row * taps + 1) + 1, share = ceil_div(lines, most_parts);
    const dim some = share > enough ? share : enough;
    const dim parts = ceil_div(lines, some);
    T* sums = scratch<T>(Slot::partial_sums, parts * size);
    parallel_for(lines, some, [&](dim begin, dim end) {
        T* sum = sums + begin / some * size;
        for (dim i = 0; i < size; ++i) sum[i] = 0;
        for (dim l = begin; l < end; ++l) {
            const dim image = l / (axis[0].outputs * axis[1].outputs);
            const Taps depth = taps_at<false>(axis[0], l / axis[1].outputs % axis[0].outputs);
            const Taps height = taps_at<false>(axis[1], l % axis[1].outputs);
            for (dim i = 0; i < line.count; ++i) {
                const PositionRun& run = line.runs[i];
                const T* from[most_taps];
                T* to[most_taps];
                const T* d = dy + l * row + run.start * channels;
                int count = 0;
                const auto flush = [&] {
                    if (count) tap_sums_of<T>.of[count - 1](from, line.shift * channels, d, run.length, to, channels);
                    count = 0;
                };
                for (dim a = 0; a < depth.count * height.count * run.taps.count; ++a) {
                    const dim k = a % run.taps.count, j = a / run.taps.count % height.count;
                    const dim m = a / run.taps.count / height.count;
                    const dim tap = ((depth.first + m) * axis[1].taps + height.first + j) * axis[2].taps;
                    from[count] = x + (image * axis[0].inputs + depth.seen + m * depth.hop) * x_plane +
                                  (height.seen + j * height.hop) * x_row +
                                  (run.taps.seen + k * run.taps.hop) * channels;
                    to[count] = sum + (tap + run.taps.first + k) * channels;
                    if (++count == most_taps) flush();
                }
                flush();
            }
            if (db) add_positions(dy + l * row, axis[2].outputs, channels, sum + taps * channels);
        }
    });
    constexpr dim L = lanes<T>;
    const auto total = [=](dim first, dim n, T* out) {
        for (dim i = 0; i < n; i += L) {
            vec<T> v = {};
            for (dim p = 0; p < parts; ++p) v = v + load_upto(sums + p * size + first + i, n - i);
            store_upto(out + i, v, n - i);
        }
    };
    total(0, taps * channels, dw);
    if (db) total(taps * channels, channels, db);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
