// Convolution without im2col: the tiles of gemm.h read the windows where they lie, lanes run over filters. Side by side
// in memory are the channels of a pixel and, without dilation and groups, the pixels of a row of the window: one run of
// the sum each.
#pragma once
#include "kernels/matmul.h"
#include "kernels/slide.h"

namespace pydl::PYDL_ISA {
namespace {

// ----------------------------------------------------------------------------------------- weights

// The matrix (taps * channels, filters) of each group, in panels of `width` columns: row r of the panel of column j at
// at + group * group_stride + j / width * panel + r * stride.
template <class T>
struct Weights {
    const T* at;
    dim group, panel, stride;
};

// The taps of a slide one after the other: f(number of the tap, its place in the kernel).
template <class F>
PYDL_INLINE void for_each_tap(const Slide (&s)[3], const Geometry& g, F f) {
    dim number = 0;
    for (dim d = 0; d < s[0].taps; ++d)
        for (dim h = 0; h < s[1].taps; ++h)
            for (dim w = 0; w < s[2].taps; ++w)
                f(number++, ((s[0].index + d * s[0].index_step) * g.axis[1].size + s[1].index + h * s[1].index_step) *
                                    g.axis[2].size +
                                s[2].index + w * s[2].index_step);
}

// w (taps, channels / groups, filters) packed for a slide; transposed: for the gradient, which sums over filters.
template <class T>
PYDL_INLINE Weights<T> packed(const T* w, const Slide (&s)[3], const Geometry& g, bool transposed) {
    constexpr dim width = Blocking<T>::width;
    const dim channels = g.channels / g.groups, filters = g.filters / g.groups;
    const dim depth = transposed ? filters : channels, columns = transposed ? channels : filters;
    const dim taps = s[0].taps * s[1].taps * s[2].taps, panels = ceil_div(columns, width), panel = taps * depth * width;
    T* buffer = scratch<T>(Slot::conv_kernel, g.groups * panels * panel + 1);
    parallel_for(g.groups * panels, 131072 / (panel + 1) + 1, [=, &s, &g](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) {
            const dim group = i / panels, j = i % panels * width, n = least(width, columns - j);
            for_each_tap(s, g, [=](dim number, dim tap) {
                const T* from = w + tap * channels * g.filters + group * filters;
                T* to = buffer + i * panel + number * depth * width;
                if (transposed) ColumnsOfB<T>{from, g.filters}.pack(j, n, 0, depth, to);
                else RowsOfB<T>{from, g.filters, true}.pack(j, n, 0, depth, to);
            });
        }
    });
    return {buffer, panels * panel, panel, width};
}

// ------------------------------------------------------------------------------------ sliding product

// Where the runs of a window begin in a view: one per pixel of the window, or per row when a row is one run.
template <class T>
PYDL_INLINE Runs runs_of(const Slide (&s)[3], const View<T>& view, bool whole_rows, dim b_step, dim* buffer) {
    const dim across = whole_rows ? 1 : s[2].taps, count = s[0].taps * s[1].taps * across;
    dim *a = buffer, *b = buffer + count;
    for (dim i = 0; i < count; ++i) {
        a[i] = i / across / s[1].taps * view.plane + i / across % s[1].taps * s[1].delta_step * view.row +
               i % across * s[2].delta_step * view.pixel;
        b[i] = i * b_step;
    }
    return {count, a, b};
}

// y = ends(sum over taps and channels of x w): one slide over all images. x has `channels` per pixel, y `filters`;
// sizes: of an image of y. With a tail the slide writes neighbouring pixels.
template <class T>
void slide_product(const T* x, const Weights<T>& w, const Slide (&s)[3], dim batch, dim groups, dim channels,
                   dim filters, const dim (&sizes)[3], const Result<T>& out) {
    constexpr dim width = Blocking<T>::width, L = lanes<T>;
    const dim depth = channels / groups, columns = filters / groups, taps = s[0].taps * s[1].taps * s[2].taps;
    // Pixels a multiple of 4 KiB apart would fall into the same cache sets.
    const dim pitch = channels * sizeof(T) % 4096 == 0 ? channels + 64 / sizeof(T) : channels;
    const bool whole_rows = groups == 1 && pitch == channels && s[2].delta_step == 1 && s[2].taps > 1;
    const dim length = whole_rows ? s[2].taps * depth : depth;
    const dim image_work = 2 * s[0].count * s[1].count * s[2].count * taps * depth * filters;
    const Blocks blocks = blocks_of(s, batch, batch * image_work, pitch * sizeof(T));
    const dim per_image = blocks.per_image(), image = s[0].inputs * s[1].inputs * s[2].inputs * channels;
    if (batch * per_image == 0) return;

    const dim grain = part_work / (image_work / per_image + 1) + 1;
    parallel_for(batch * per_image, grain, [=, &w, &s, &sizes, &out, &blocks](dim begin, dim end) {
        T* buffer = scratch<T>(Slot::conv_view, view_size(s, blocks, pitch) + L);
        dim* offsets = scratch<dim>(Slot::conv_offsets, 2 * taps + 1);
        Poll poll;
        for (dim i = begin; i < end; ++i) {
            const Block block = blocks.of(i % per_image, s);
            const View<T> view = view_of(x + i / per_image * image, s, block, channels, pitch, buffer);
            const Runs runs = runs_of(s, view, whole_rows, length * w.stride, offsets);
            const dim rows = even_part(block.count[2], Blocking<T>::rows), step = s[2].out_step * filters;
            const dim z = i / per_image * sizes[0] + s[0].out_first + block.first[0] * s[0].out_step;
            for (dim group = 0; group < groups; ++group) {
                for (dim j = 0; j < columns; j += width) {
                    const dim n = least(width, columns - j);
                    const T* panel = w.at + group * w.group + j / width * w.panel;
                    const Ends<T> ends{out.bias ? out.bias + group * columns + j : nullptr, 0, out.floor};
                    for (dim h = 0; h < block.count[1]; ++h) {
                        if (poll(block.count[2] * taps * depth * n)) return;
                        const dim y = z * sizes[1] + s[1].out_first + (block.first[1] + h) * s[1].out_step;
                        T* line = out.c + (y * sizes[2] + s[2].out_first + block.first[2] * s[2].out_step) * filters +
                                  group * columns + j;
                        const T* from = view.at + h * s[1].step * view.row + group * depth;
                        for (dim p = 0; p < block.count[2]; p += rows) {
                            const dim m = least(rows, block.count[2] - p);
                            tiles<T, false>.of[m - 1][(n - 1) / L][n % L != 0](
                                length, from + p * s[2].step * view.pixel, s[2].step * view.pixel, panel, w.stride,
                                line + p * step, step, ends, n % L, runs);
                            if (out.finish) out.finish(line + p * step, m, n, step);
                        }
                    }
                }
            }
            if (out.tail)
                for (dim h = 0; h < block.count[1]; ++h) {
                    const dim y = z * sizes[1] + block.first[1] + h, pixel = y * sizes[2] + block.first[2];
                    (*out.tail)(pixel* filters, (pixel + block.count[2]) * filters);
                }
        }
    });
}

// A row of finished sums: max(floor, sum + bias) and what `out` adds, to `to`.
template <class T>
PYDL_INLINE void finish_line(const T* from, dim pixels, dim channels, const Result<T>& out, T* to) {
    if (!out.bias && out.floor == minus_infinity<T>) copy_run(to, from, pixels * channels);
    else
        for (dim p = 0; p < pixels; ++p)
            for (dim c = 0; c < channels; c += lanes<T>) {
                const dim left = channels - c, at = p * channels + c;
                vec<T> v = load_upto(from + at, left);
                if (out.bias) v = v + load_upto(out.bias + c, left);
                store_upto(to + at, max(splat(out.floor), v), left);
            }
    if (out.finish) out.finish(to, pixels, channels, channels);
}

// --------------------------------------------------------------------------------- kernel's gradient

// dw = (or +=, with `accumulate`) a sum over items that is cut into parts, each with a sum of its own, added up at the
// end. f(first item, last, share, sum, add) writes its part's sum for one of `shares` shares of dw, or adds to what is
// there. What a task (part, share) does depends on the sizes only.
template <class T, class F>
PYDL_INLINE void sum_in_parts(T* dw, dim size, dim items, dim work, dim shares, bool accumulate, F f) {
    constexpr dim L = lanes<T>, sums_bytes = dim{4} << 20;
    if (items == 0) return accumulate ? void() : zero_run(dw, size);
    const dim most = least(items, sums_bytes / static_cast<dim>(size * sizeof(T)) + 1);
    const dim part = ceil_div(items, least(most, ceil_div(least(enough_tasks, work / part_work + 1), shares)));
    const dim parts = ceil_div(items, part);
    T* sums = scratch<T>(Slot::conv_sums, parts * size + 1);
    parallel_for(parts * shares, 1, [=](dim begin, dim end) {
        for (dim task = begin; task < end; ++task) {
            const dim p = task / shares;
            f(p * part, least(items, p * part + part), task % shares, p == 0 ? dw : sums + (p - 1) * size,
              p == 0 && accumulate);
        }
    });
    if (parts < 2) return;
    parallel_for(size, ceil_div(32768 / parts, L) * L, [=](dim begin, dim end) {
        for (dim i = begin; i < end; i += L) {
            vec<T> total = load_upto(dw + i, end - i);
            for (dim p = 1; p < parts; ++p) total = total + load_upto(sums + (p - 1) * size + i, end - i);
            store_upto(dw + i, total, end - i);
        }
    });
}

// dw (taps, channels / groups, filters) = sum over images and positions of x^T dz.
template <class T>
void slide_dw(const T* x, const T* dz, T* dw, const Geometry& g, bool accumulate) {
    constexpr dim width = Blocking<T>::width, L = lanes<T>;
    const Slide s[3] = {forward_slide(g.axis[0]), forward_slide(g.axis[1]), forward_slide(g.axis[2])};
    const dim depth = g.channels / g.groups, columns = g.filters / g.groups;
    const bool whole_rows = g.groups == 1 && s[2].delta_step == 1;
    const dim length = whole_rows ? s[2].taps * depth : depth, across = whole_rows ? 1 : s[2].taps;
    const Blocks blocks = blocks_of(s, g.batch, g.work(), g.channels * sizeof(T));
    const dim per_image = blocks.per_image(), panels = ceil_div(columns, width);
    const dim shares = least(panels, least(enough_tasks, g.work() / part_work + 1));
    const dim share_columns = ceil_div(panels, shares) * width;

    const auto task = [=, &s, &g, &blocks](dim first, dim last, dim share, T* sum, bool add) {
        T* buffer = scratch<T>(Slot::conv_view, view_size(s, blocks, g.channels) + L);
        dim* offsets = scratch<dim>(Slot::conv_offsets, 2 * blocks.rows);
        const dim j0 = share * share_columns, j1 = least(columns, j0 + share_columns);
        Poll poll;
        for (dim i = first; i < last; ++i, add = true) {
            const Block block = blocks.of(i % per_image, s);
            const View<T> view =
                view_of(x + i / per_image * g.inputs() * g.channels, s, block, g.channels, g.channels, buffer);
            const T* of_dz = dz + g.output_pixel(i / per_image, block) * g.filters;
            for (dim h = 0; h < block.count[1]; ++h) {
                offsets[h] = h * s[1].step * view.row;
                offsets[blocks.rows + h] = h * g.axis[2].outputs * g.filters;
            }
            const Runs runs{block.count[1], offsets, offsets + blocks.rows};
            const dim rows = even_part(length, Blocking<T>::rows);
            for (dim run = 0; run < g.groups * s[0].taps * s[1].taps * across; ++run) {
                const dim tap = run / g.groups, group = run % g.groups;
                const T* a = view.at + tap / across / s[1].taps * view.plane +
                             tap / across % s[1].taps * s[1].delta_step * view.row +
                             tap % across * s[2].delta_step * view.pixel + group * depth;
                for (dim r = 0; r < length; r += rows) {
                    const dim m = least(rows, length - r);
                    if (poll(block.count[1] * block.count[2] * m * (j1 - j0))) return;
                    T* c = sum + (tap * length + r) * g.filters + group * columns;
                    for (dim j = j0; j < j1; j += width) {
                        const dim n = least(width, j1 - j);
                        const Ends<T> ends{add ? c + j : nullptr, g.filters, minus_infinity<T>};
                        tiles<T, true>.of[m - 1][(n - 1) / L][n % L != 0](block.count[2], a + r, s[2].step * view.pixel,
                                                                          of_dz + group * columns + j, g.filters, c + j,
                                                                          g.filters, ends, n % L, runs);
                    }
                }
            }
        }
    };
    sum_in_parts(dw, g.taps() * depth * g.filters, g.batch * per_image, g.work(), shares, accumulate, task);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
