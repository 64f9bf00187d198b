// Convolution with fewer filters than half a register has lanes, as the first layers of LeNet and the gradients for
// colour images: lanes run over pixels instead of filters. A block of inputs is transposed to planes (channel, row,
// column); a tap of the window is then a shift of a plane, and the product is filters x (taps, channels) times
// (taps, channels) x pixels, whose second matrix is never stored. Pixels of several rows form one strip, columns of
// padding included, when that wastes less than the ends of rows do.
#pragma once
#include "kernels/conv_direct.h"

namespace pydl::PYDL_ISA {
namespace {

PYDL_INLINE constexpr bool few(dim filters, dim lanes) { return 2 * filters <= lanes; }

// A register of pixels, `step` apart, to and from planes, for few channels. Functions of their own: inlined into a loop over pixels,
// the compiler keeps dozens of addresses and spends its time on them.
template <class T>
[[gnu::noinline]] void narrow_to_planes(const T* from, dim pixels, dim channels, dim step, T* to, dim plane) {
    constexpr dim half = lanes<T> / 2;
    const T *low = from, *high = from + half * step, *last = from + (pixels - 1) * step;
    vec<T> squares[half];
    PYDL_UNROLL for (dim i = 0; i < half; ++i, low += step, high += step) squares[i] =
        shuffle(load_partial(low < last ? low : last, channels), load_partial(high < last ? high : last, channels),
                [](int i) { return i < half ? i : i + half; });
    transpose_halves<T>(squares);
    PYDL_UNROLL for (dim i = 0; i < half; ++i, to += plane) if (i < channels) store_upto(to, squares[i], pixels);
}

// max(floor, plane + bias) to pixels `step` apart; `bias` in both halves.
template <class T>
[[gnu::noinline]] void narrow_from_planes(const T* from, dim plane, dim pixels, dim channels, T* to, dim step,
                                          const vec<T>& bias, T floor) {
    constexpr dim half = lanes<T> / 2;
    vec<T> squares[half];
    PYDL_UNROLL for (dim i = 0; i < half; ++i, from += plane) squares[i] =
        i < channels ? load_upto(from, pixels) : vec<T>{};
    transpose_halves<T>(squares);
    T* high = to + half * step;
    PYDL_UNROLL for (dim i = 0; i < half; ++i, to += step, high += step) {
        const vec<T> v = max(splat(floor), squares[i] + bias);
        if (i < pixels) store_partial(to, v, channels);
        if (i + half < pixels) store_partial(high, shuffle(v, v, [](int i) { return i % half + half; }), channels);
    }
}

template <class T>
[[gnu::noinline]] void wide_to_planes(const T* from, dim pixels, dim channels, dim step, T* to, dim plane) {
    constexpr dim L = lanes<T>;
    const T* last = from + (pixels - 1) * step;
    vec<T> square[L];
    PYDL_UNROLL for (dim i = 0; i < L; ++i, from += step) square[i] = load_upto(from < last ? from : last, channels);
    transpose<T>(square);
    PYDL_UNROLL for (dim i = 0; i < L; ++i, to += plane) if (i < channels) store_upto(to, square[i], pixels);
}

// `pixels` pixels of `channels` to one row of each plane.
template <class T>
PYDL_INLINE void to_planes(const T* from, dim pixels, dim channels, T* to, dim plane) {
    constexpr dim L = lanes<T>;
    if (channels == 1) return copy_run(to, from, pixels);
    for (dim p = 0; p < pixels; p += L)
        for (dim c = 0; c < channels; c += L) {
            const T* at = from + p * channels + c;
            T* there = to + c * plane + p;
            const auto move = few(channels - c, L) ? narrow_to_planes<T> : wide_to_planes<T>;
            move(at, least(L, pixels - p), channels - c, channels, there, plane);
        }
}

// Back, for few channels: max(floor, plane + bias) to pixels `step` apart.
template <class T>
PYDL_INLINE void from_planes(const T* from, dim plane, dim pixels, dim channels, T* to, dim step, const T* bias,
                             T floor) {
    constexpr dim L = lanes<T>;
    vec<T> start = bias ? load_partial(bias, channels) : vec<T>{};
    start = shuffle(start, start, [](int i) { return i % (L / 2); });
    for (dim p = 0; p < pixels; p += L)
        narrow_from_planes(from + p, plane, least(L, pixels - p), channels, to + p * step, step, start, floor);
}

// The inputs of a block as planes (tap in depth, channel), each `extent` rows of `width` pixels, zero where padded.
template <class T>
PYDL_INLINE void planes_of(const T* image, const Slide (&s)[3], const Block& block, dim channels, dim width, dim plane,
                           T* to) {
    const dim extent = s[1].extent(block.count[1]), columns = s[2].extent(block.count[2]);
    const dim y0 = block.first[1] * s[1].step + s[1].delta, x0 = block.first[2] * s[2].step + s[2].delta;
    const dim left = least(columns, -least(dim{0}, x0)), there = least(columns, s[2].inputs - x0) - left;
    zero_run(to, s[0].taps * channels * plane);
    for (dim t = 0; t < s[0].taps; ++t) {
        const dim z = block.first[0] * s[0].step + s[0].delta + t * s[0].delta_step;
        if (z < 0 || z >= s[0].inputs || there <= 0) continue;
        for (dim r = 0; r < extent; ++r) {
            const dim y = y0 + r;
            if (y < 0 || y >= s[1].inputs) continue;
            const T* from = image + ((z * s[1].inputs + y) * s[2].inputs + x0 + left) * channels;
            to_planes(from, there, channels, to + t * channels * plane + r * width + left, plane);
        }
    }
}

// As slide_product of conv_direct.h, for one group, few filters and step 1 across.
template <class T>
void planar_product(const T* x, const Weights<T>& w, const Slide (&s)[3], dim batch, dim channels, dim filters,
                    const dim (&sizes)[3], const Result<T>& out) {
    constexpr dim L = lanes<T>;
    const dim taps = s[0].taps * s[1].taps * s[2].taps;
    const dim image_work = 2 * s[0].count * s[1].count * s[2].count * taps * channels * filters;
    const Blocks blocks = blocks_of(s, batch, batch * image_work, (channels + filters) * sizeof(T), l1_bytes);
    const dim per_image = blocks.per_image(), image = s[0].inputs * s[1].inputs * s[2].inputs * channels;
    if (batch * per_image == 0) return;
    // The shorter loop inside would cost its start too often.
    const bool across = channels < s[2].taps;

    const dim grain = part_work / (image_work / per_image + 1) + 1;
    parallel_for(batch * per_image, grain, [=, &w, &s, &sizes, &out, &blocks](dim begin, dim end) {
        const dim width = s[2].extent(blocks.columns), plane = s[1].extent(blocks.rows) * width;
        const dim result = ceil_div(blocks.rows * width, L) * L;
        T* planes = scratch<T>(Slot::planar_inputs, s[0].taps * channels * plane + L);
        T* results = scratch<T>(Slot::planar_outputs, filters * result + L);
        const dim count = s[0].taps * s[1].taps * (across ? channels : s[2].taps);
        dim* a = scratch<dim>(Slot::planar_offsets, 2 * (count + 1));
        dim* b = a + count;
        for (dim i = 0; i < count; ++i) {
            const dim inner = across ? channels : s[2].taps, row = i / inner, last = i % inner;
            a[i] = (across ? row * s[2].taps * channels + last : i * channels) * w.stride;
            b[i] = (row / s[1].taps * channels + (across ? last : 0)) * plane +
                   row % s[1].taps * s[1].delta_step * width + (across ? 0 : last * s[2].delta_step);
        }
        const Runs runs{count, a, b};
        const dim k = across ? s[2].taps : channels, as = across ? channels * w.stride : w.stride;
        const dim bs = across ? s[2].delta_step : plane;
        const Ends<T> ends{nullptr, 0, minus_infinity<T>};
        Poll poll;
        for (dim i = begin; i < end; ++i) {
            if (poll(image_work / per_image)) return;
            const Block block = blocks.of(i % per_image, s);
            planes_of(x + i / per_image * image, s, block, channels, width, plane, planes);
            const dim rows = block.count[1], columns = block.count[2], all = (rows - 1) * width + columns;
            const bool one = s[1].step == 1 && ceil_div(all, L) < rows * ceil_div(columns, L);
            const dim length = one ? all : columns;
            constexpr dim wide = row_vectors * L, usual = Blocking<T>::width;
            const dim tile_width = filters == 1 ? wide : usual;
            for (dim h = 0; h < (one ? 1 : rows); ++h)
                for (dim p = 0; p < length; p += tile_width) {
                    const dim n = least(tile_width, length - p);
                    const auto f = filters == 1 ? tiles_of<T>().row[(n - 1) / L][n % L != 0]
                                                : tiles<T, true>.of[filters - 1][(n - 1) / L][n % L != 0];
                    f(k, w.at, as, planes + h * s[1].step * width + p, bs, results + h * width + p, result, ends, n % L,
                      runs);
                }
            const dim z = i / per_image * sizes[0] + s[0].out_first + block.first[0] * s[0].out_step;
            for (dim h = 0; h < rows; ++h) {
                const dim y = z * sizes[1] + s[1].out_first + (block.first[1] + h) * s[1].out_step;
                const dim step = s[2].out_step * filters;
                T* line = out.c + (y * sizes[2] + s[2].out_first + block.first[2] * s[2].out_step) * filters;
                from_planes(results + h * width, result, columns, filters, line, step, out.bias, out.floor);
                if (out.finish) out.finish(line, columns, filters, step);
            }
        }
    });
}

// ---------------------------------------------------------------------------------- kernel's gradient

// Sums of R shifts of a row of x with F planes of dz: c(r, f) += x[r * shift + p] z[f * plane + p] over p < n, where an
// element of c is a register whose lanes are added up at the end.
template <class T, int R, int F>
[[gnu::noinline]] void dots(dim n, const T* x, dim shift, const T* z, dim plane, T* c, dim stride) {
    constexpr dim L = lanes<T>;
    vec<T> acc[R][F];
    PYDL_UNROLL for (int r = 0; r < R; ++r) {
        PYDL_UNROLL for (int f = 0; f < F; ++f) acc[r][f] = load(c + (r * stride + f) * L);
    }
    const auto step = [&](dim p, auto get) __attribute__((always_inline)) {
        vec<T> zs[F];
        PYDL_UNROLL for (int f = 0; f < F; ++f) zs[f] = get(z + f * plane + p);
        PYDL_UNROLL for (int r = 0; r < R; ++r) {
            vec<T> v = get(x + r * shift + p);
            hold(v);
            PYDL_UNROLL for (int f = 0; f < F; ++f) acc[r][f] = fma(v, zs[f], acc[r][f]);
        }
    };
    dim p = 0;
    for (; p + L <= n; p += L) step(p, [](const T* at) __attribute__((always_inline)) { return load(at); });
    if (p < n) step(p, [=](const T* at) __attribute__((always_inline)) { return load_partial(at, n - p); });
    PYDL_UNROLL for (int r = 0; r < R; ++r) {
        PYDL_UNROLL for (int f = 0; f < F; ++f) store(c + (r * stride + f) * L, acc[r][f]);
    }
}

#if defined(__AVX512F__)
constexpr int dot_rows = 5, dot_planes = 5;  // 25 sums, 5 planes, a row: of 32 registers
#else
constexpr int dot_rows = 3, dot_planes = 3;
#endif
template <class T>
using DotsFunction = void (*)(dim, const T*, dim, const T*, dim, T*, dim);
template <class T>
struct Dots {
    DotsFunction<T> of[dot_rows][dot_planes];
};
template <class T>
constexpr Dots<T> all_dots = []<std::size_t... I>(std::index_sequence<I...>) {
    Dots<T> table{};
    ((table.of[I / dot_planes][I % dot_planes] = dots<T, I / dot_planes + 1, I % dot_planes + 1>), ...);
    return table;
}(std::make_index_sequence<dot_rows * dot_planes>{});

// As slide_dw, for one group, few filters and steps of 1.
template <class T>
void planar_dw(const T* x, const T* dz, T* dw, const Geometry& g, bool accumulate) {
    constexpr dim L = lanes<T>;
    const Slide s[3] = {forward_slide(g.axis[0]), forward_slide(g.axis[1]), forward_slide(g.axis[2])};
    const dim channels = g.channels, filters = g.filters, size = g.taps() * channels * filters;
    const Blocks blocks = blocks_of(s, g.batch, g.work(), (channels + filters) * sizeof(T), l1_bytes);
    const dim per_image = blocks.per_image();

    const auto task = [=, &s, &g, &blocks](dim first, dim last, dim, T* sum, bool add) {
        const dim width = s[2].extent(blocks.columns), plane = s[1].extent(blocks.rows) * width;
        const dim result = blocks.rows * width, taps_down = s[1].taps, taps = s[2].taps;
        T* planes = scratch<T>(Slot::planar_inputs, s[0].taps * channels * plane + L);
        T* results = scratch<T>(Slot::planar_outputs, filters * result + L);
        const dim rows = even_part(taps, dim{dot_rows}), columns = even_part(filters, dim{dot_planes});
        T* sums = scratch<T>(Slot::planar_dots, size * L);
        zero_run(sums, size * L);
        Poll poll;
        for (dim i = first; i < last; ++i) {
            if (poll(g.work() / (g.batch * per_image))) return;
            const Block block = blocks.of(i % per_image, s);
            planes_of(x + i / per_image * g.inputs() * channels, s, block, channels, width, plane, planes);
            zero_run(results, filters * result);  // also what lies between the rows
            for (dim h = 0; h < block.count[1]; ++h) {
                const dim pixel = g.output_pixel(i / per_image, block) + h * g.axis[2].outputs;
                to_planes(dz + pixel * filters, block.count[2], filters, results + h * width, result);
            }
            const dim length = (block.count[1] - 1) * width + block.count[2];
            for (dim row = 0; row < s[0].taps * taps_down * channels; ++row) {
                const dim tap = row / channels, c = row % channels;
                const T* from =
                    planes + (tap / taps_down * channels + c) * plane + tap % taps_down * s[1].delta_step * width;
                T* to = sums + (tap * taps * channels + c) * filters * L;
                for (dim r = 0; r < taps; r += rows)
                    for (dim f = 0; f < filters; f += columns)
                        all_dots<T>.of[least(rows, taps - r) - 1][least(columns, filters - f) - 1](
                            length, from + r * s[2].delta_step, s[2].delta_step, results + f * result, result,
                            to + (r * channels * filters + f) * L, channels * filters);
            }
        }
        for (dim i = 0; i < size; ++i) sum[i] = (add ? sum[i] : T(0)) + horizontal_sum(load(sums + i * L));
    };
    sum_in_parts(dw, size, g.batch * per_image, g.work(), dim{1}, accumulate, task);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
