// The gradient of a convolution for an input of few channels, from the side of the outputs: every position spreads the
// window of its gradients over the input, whose rows of the window are side by side in memory and fill the lanes. Tiles
// are columns of positions, so that what one tile adds to does not overlap.
#pragma once
#include "kernels/conv_direct.h"

namespace pydl::PYDL_ISA {
namespace {

// Whether rows of the window are runs, and an image of gradients with its padding is small.
template <class T>
PYDL_INLINE bool can_scatter(const Geometry& g) {
    dim size = g.channels * sizeof(T);
    for (const Axis& a : g.axis) size *= (a.outputs - 1) * a.stride + (a.size - 1) * a.dilation + 1;
    return g.groups == 1 && g.axis[2].dilation == 1 && size <= 2 * l2_bytes;
}

// As conv_dx of conv.h.
template <class T>
void scatter_dx(const T* dz, const T* w, const Geometry& g, const Result<T>& out) {
    constexpr dim width = Blocking<T>::width, L = lanes<T>;
    const auto& [deep, high, wide] = g.axis;
    const dim channels = g.channels, filters = g.filters, lines = deep.size * high.size, run = wide.size * channels;
    dim extent[3];
    for (int a = 0; a < 3; ++a) {
        const Axis& x = g.axis[a];
        extent[a] = (x.outputs - 1) * x.stride + (x.size - 1) * x.dilation + 1;
        extent[a] = extent[a] < x.before + x.inputs ? x.before + x.inputs : extent[a];
    }
    const dim row = extent[2] * channels, plane = extent[1] * row, panels = ceil_div(run, width);
    T* packed_w = scratch<T>(Slot::scatter_kernel, lines * panels * filters * width + 1);
    for (dim line = 0; line < lines; ++line)
        ColumnsOfB<T>{w + line * run * filters, filters}.pack(0, run, 0, filters,
                                                              packed_w + line * panels * filters * width);

    const dim rows = even_part(high.outputs, Blocking<T>::rows);
    const dim grain = part_work * g.batch / (g.work() + 1) + 1;
    parallel_for(g.batch, grain, [=, &g, &out](dim begin, dim end) {
        const auto& [deep, high, wide] = g.axis;
        T* sums = scratch<T>(Slot::scatter_sums, extent[0] * plane + L);
        Poll poll;
        for (dim image = begin; image < end; ++image) {
            zero_run(sums, extent[0] * plane);
            for (dim z = 0; z < deep.outputs; ++z)
                for (dim y = 0; y < high.outputs; y += rows) {
                    if (poll(rows * wide.outputs * lines * run * filters)) return;
                    for (dim x = 0; x < wide.outputs; ++x) {
                        const dim m = least(rows, high.outputs - y);
                        const T* a =
                            dz + (((image * deep.outputs + z) * high.outputs + y) * wide.outputs + x) * filters;
                        T* to = sums + z * deep.stride * plane + y * high.stride * row + x * wide.stride * channels;
                        for (dim line = 0; line < lines; ++line) {
                            T* c =
                                to + line / high.size * deep.dilation * plane + line % high.size * high.dilation * row;
                            for (dim j = 0; j < run; j += width) {
                                const dim n = least(width, run - j);
                                const Ends<T> ends{c + j, high.stride * row, minus_infinity<T>};
                                tiles<T, false>.of[m - 1][(n - 1) / L][n % L != 0](
                                    filters, a, wide.outputs * filters,
                                    packed_w + (line * panels + j / width) * filters * width, width, c + j,
                                    high.stride * row, ends, n % L, one_run);
                            }
                        }
                    }
                }
            T* to = out.c + image * g.inputs() * channels;
            for (dim z = 0; z < deep.inputs; ++z)
                for (dim y = 0; y < high.inputs; ++y, to += wide.inputs * channels)
                    finish_line(sums + (z + deep.before) * plane + (y + high.before) * row + wide.before * channels,
                                wide.inputs, channels, out, to);
        }
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
