// The geometry of windows that slide over images (batch, depth, height, width, channels), and the inputs of a block of
// positions: where they lie, or copied side by side with their padding.
#pragma once
#include "kernels/gemm.h"

namespace pydl::PYDL_ISA {
namespace {

struct Axis {
    dim inputs, outputs, size, stride, dilation, before;
};

// Positions [first, first + count) per axis.
struct Block {
    dim first[3], count[3];
};

// The list that pydl/ops/_window.py writes, after batch, groups, channels (of x) and filters (of y).
struct Geometry {
    dim batch, groups, channels, filters;
    Axis axis[3];

    PYDL_INLINE explicit Geometry(Dims g) : batch(g[0]), groups(g[1]), channels(g[2]), filters(g[3]) {
        for (int a = 0; a < 3; ++a) axis[a] = {g[4 + a], g[7 + a], g[10 + a], g[13 + a], g[16 + a], g[19 + a]};
        // There are no weights then, however many taps: nothing to add up, and nothing that bounds the loops over them.
        if (channels * filters == 0) axis[0].size = axis[1].size = axis[2].size = 1;
        if (outputs() == 0) axis[0].outputs = axis[1].outputs = axis[2].outputs = 0;
    }
    PYDL_INLINE dim inputs() const { return axis[0].inputs * axis[1].inputs * axis[2].inputs; }
    PYDL_INLINE dim outputs() const { return axis[0].outputs * axis[1].outputs * axis[2].outputs; }
    PYDL_INLINE dim taps() const { return axis[0].size * axis[1].size * axis[2].size; }
    PYDL_INLINE dim work() const { return 2 * batch * outputs() * taps() * (channels / groups) * filters; }
    // The number of the pixel of y where a block of an image begins.
    PYDL_INLINE dim output_pixel(dim image, const Block& b) const {
        return ((image * axis[0].outputs + b.first[0]) * axis[1].outputs + b.first[1]) * axis[2].outputs + b.first[2];
    }
    // Whether every window is one pixel and every pixel has one: a product of matrices.
    PYDL_INLINE bool pointwise() const {
        for (const Axis& a : axis)
            if (a.size != 1 || a.stride != 1 || a.inputs != a.outputs || a.before != 0) return false;
        return groups == 1;
    }
};

// One axis of a sliding product: position o reads, through tap t, the input at o * step + delta + t * delta_step, with
// the weights number index + t * index_step, and is written at out_first + o * out_step.
struct Slide {
    dim inputs, count, step, taps, delta, delta_step, index, index_step, out_first, out_step;

    PYDL_INLINE dim extent(dim positions) const { return (positions - 1) * step + (taps - 1) * delta_step + 1; }
};

PYDL_INLINE Slide forward_slide(const Axis& a) {
    return {a.inputs, a.outputs, a.stride, a.size, -a.before, a.dilation, 0, 1, 0, 1};
}

PYDL_INLINE dim greatest_divisor(dim a, dim b) { return b == 0 ? a : greatest_divisor(b, a % b); }

// The gradient of the inputs phase, phase + stride, ...: those that see the same taps. Input i and tap k meet at output
// (i + before - k * dilation) / stride where that is whole, so that within a phase every `stride / gcd`-th tap counts.
PYDL_INLINE Slide gradient_slide(const Axis& a, dim phase) {
    const dim common = greatest_divisor(a.stride, a.dilation), every = a.stride / common;
    Slide s{a.outputs, a.inputs > phase ? ceil_div(a.inputs - phase, a.stride) : 0,
            1,         0,
            0,         a.dilation / common,
            0,         0,
            phase,     a.stride};
    for (dim k = 0; k < least(a.size, every); ++k) {
        if ((phase + a.before - k * a.dilation) % a.stride != 0) continue;
        s.taps = ceil_div(a.size - k, every);
        s.index = k + (s.taps - 1) * every;
        s.index_step = -every;
        s.delta = (phase + a.before - s.index * a.dilation) / a.stride;
    }
    return s;
}

// How the positions of one image are cut: a block is one position in depth, `rows` x `columns` of them.
struct Blocks {
    dim rows, columns, high, wide, deep;

    PYDL_INLINE dim per_image() const { return deep * high * wide; }
    PYDL_INLINE Block of(dim i, const Slide (&s)[3]) const {
        const dim w = i % wide * columns, h = i / wide % high * rows;
        return {{i / wide / high, h, w}, {1, least(rows, s[1].count - h), least(columns, s[2].count - w)}};
    }
};

// Half of L2 at most, beside which a panel of weights has room.
constexpr dim l2_bytes = dim{192} << 10, l1_bytes = dim{24} << 10;

// Tasks that keep all threads busy to the end.
constexpr dim enough_tasks = 8;

// Blocks whose inputs take up to `bytes`, and enough of them for all threads when `work` operations on `images` are
// worth it.
PYDL_INLINE Blocks blocks_of(const Slide (&s)[3], dim images, dim work, dim pixel_bytes, dim bytes = l2_bytes) {
    constexpr dim widest = 512, part = 1'000'000;
    const dim wanted = ceil_div(least(enough_tasks, work / part + 1), images * s[0].count + 1);
    Blocks b;
    b.columns = even_part(s[2].count, least(widest, ceil_div(s[2].count, ceil_div(wanted, s[1].count + 1))));
    const dim row = s[0].taps * s[1].step * s[2].extent(b.columns) * pixel_bytes;
    b.rows = even_part(s[1].count, least(bytes / (row + 1) + 1, ceil_div(s[1].count, wanted)));
    b.high = ceil_div(s[1].count, b.rows);
    b.wide = ceil_div(s[2].count, b.columns);
    b.deep = s[0].count;
    return b;
}

template <class T>
PYDL_INLINE void copy_run(T* to, const T* from, dim n) {
    for (dim i = 0; i < n; i += lanes<T>) store_upto(to + i, load_upto(from + i, n - i), n - i);
}
template <class T>
PYDL_INLINE void zero_run(T* to, dim n) {
    for (dim i = 0; i < n; i += lanes<T>) store_upto(to + i, vec<T>{}, n - i);
}

// The inputs of a block: input (tap in depth, row, column) at at + tap * plane + row * row + column * pixel, relative
// to what the block's first position reads first.
template <class T>
struct View {
    const T* at;
    dim plane, row, pixel;
};

PYDL_INLINE dim view_size(const Slide (&s)[3], const Blocks& b, dim pitch) {
    return s[0].taps * s[1].extent(b.rows) * s[2].extent(b.columns) * pitch;
}

// In place when nothing is padded and pixels are `pitch` apart already, otherwise a copy in `buffer`.
template <class T>
PYDL_INLINE View<T> view_of(const T* image, const Slide (&s)[3], const Block& block, dim channels, dim pitch,
                            T* buffer) {
    const auto& [d, h, w] = s;
    dim from[3], extent[3];
    bool inside = pitch == channels;
    for (int a = 0; a < 3; ++a) {
        from[a] = block.first[a] * s[a].step + s[a].delta;
        extent[a] = s[a].extent(block.count[a]);
        inside = inside && from[a] >= 0 && from[a] + extent[a] <= s[a].inputs;
    }
    const dim row = w.inputs * channels, plane = h.inputs * row;
    if (inside) return {image + from[0] * plane + from[1] * row + from[2] * channels, d.delta_step * plane, row, pitch};

    const dim left = least(extent[2], -least(dim{0}, from[2]));
    const dim there = least(extent[2], w.inputs - from[2]) - left;  // columns that exist
    const dim out_row = extent[2] * pitch;
    T* to = buffer;
    for (dim t = 0; t < d.taps; ++t) {
        const dim z = from[0] + t * d.delta_step;
        for (dim r = 0; r < extent[1]; ++r, to += out_row) {
            const dim y = from[1] + r;
            if (z < 0 || z >= d.inputs || y < 0 || y >= h.inputs || there <= 0) {
                zero_run(to, out_row);
                continue;
            }
            const T* line = image + z * plane + y * row + (from[2] + left) * channels;
            zero_run(to, left * pitch);
            T* at = to + left * pitch;
            if (pitch == channels) copy_run(at, line, there * channels);
            else
                for (dim i = 0; i < there; ++i) copy_run(at + i * pitch, line + i * channels, channels);
            zero_run(at + there * pitch, out_row - (left + there) * pitch);
        }
    }
    return {buffer, extent[1] * out_row, out_row, pitch};
}

}  // namespace
}  // namespace pydl::PYDL_ISA
