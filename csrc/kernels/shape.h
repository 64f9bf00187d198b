// Family shape: data movement whose geometry is known when a step is described.
#pragma once
#include "kernels/scan.h"
#include "kernels/strided.h"

namespace pydl::PYDL_ISA {
namespace {

// y (shape), contiguous; y[i] = x[offset + i . strides]. Strides may be zero or negative.
template <class T>
void strided_copy(In<T> x, Out<T> y, Dims shape, Dims strides, dim offset) {
    Layout l;
    dim y_stride = 1;
    for (dim d = 0; d < shape.size(); ++d) y_stride *= shape[d];
    if (y_stride == 0) return;
    for (dim d = 0; d < shape.size(); ++d) {
        y_stride /= shape[d];
        l.push(shape[d], strides[d], y_stride);
    }
    move(x.ptr + offset, y.ptr, l);
}

// The other way round: y (n) = base (n) or zeros, then y[offset + i . strides] = x[i] for x (shape), contiguous.
// No two points of `shape` may fall on one place. Gradient of strided_copy without repetition, and slice_update.
template <class T>
void strided_scatter(OptIn<T> base, In<T> x, Out<T> y, dim n, Dims shape, Dims strides, dim offset) {
    if (base.ptr) copy_all(y.ptr, base.ptr, n);
    else zero_all(y.ptr, n);
    Layout l;
    dim x_stride = 1;
    for (dim d = 0; d < shape.size(); ++d) x_stride *= shape[d];
    if (x_stride == 0) return;
    for (dim d = 0; d < shape.size(); ++d) {
        x_stride /= shape[d];
        l.push(shape[d], x_stride, strides[d]);
    }
    move(x.ptr, y.ptr + offset, l);
}

// One side is `parts` of (rows, widths[p]), the other their rows laid end to end; copy(p, part offset, whole
// offset, width) moves one run.
template <class Copy>
PYDL_INLINE void for_each_part(Dims widths, dim rows, Copy copy) {
    dim width = 0;
    for (dim p = 0; p < widths.size(); ++p) width += widths[p];
    if (width >= kMoveGrain) {
        for (dim r = 0; r < rows; ++r)
            for (dim p = 0, at = 0; p < widths.size(); at += widths[p++])
                parallel_for(widths[p], kMoveGrain, [&](dim begin, dim end) {
                    copy(p, r * widths[p] + begin, r * width + at + begin, end - begin);
                });
        return;
    }
    // Part by part within a chunk of rows: the width is the same for the whole inner loop.
    parallel_for(rows, kMoveGrain / larger(1, width), [&](dim begin, dim end) {
        for (dim p = 0, at = 0; p < widths.size(); at += widths[p++])
            for (dim r = begin; r < end; ++r) copy(p, r * widths[p], r * width + at, widths[p]);
    });
}

// parts[p] (rows, widths[p]) -> y (rows, sum of widths).
template <class T>
void concatenate(List<In<T>> parts, Dims widths, Out<T> y, dim rows) {
    for_each_part(widths, rows, [=](dim p, dim from, dim to, dim n) __attribute__((always_inline)) {
        copy_run(y.ptr + to, parts[p].ptr + from, n);
    });
}

// x (rows, sum of widths) -> parts[p] (rows, widths[p]). Gradient of concatenate, and the reverse.
template <class T>
void split(In<T> x, List<Out<T>> parts, Dims widths, dim rows) {
    for_each_part(widths, rows, [=](dim p, dim to, dim from, dim n) __attribute__((always_inline)) {
        copy_run(parts[p].ptr + to, x.ptr + from, n);
    });
}

// ---------------------------------------------------------------------------------------------- pad

enum PadMode : dim { kPadConstant, kPadEdge, kPadReflect, kPadSymmetric };

// The position in 0..n-1 that position i of the padded axis shows (i counts from the first real one), or -1.
PYDL_INLINE dim pad_source(dim i, dim n, dim mode) {
    if (i >= 0 && i < n) return i;
    if (mode == kPadConstant) return -1;
    if (mode == kPadEdge || n == 1) return i < 0 ? 0 : n - 1;
    const dim period = mode == kPadReflect ? 2 * (n - 1) : 2 * n;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i - (mode == kPadSymmetric);
}

// Calls f(output row, input row or -1) for every pair of rows begin .. end-1 of the padded tensor.
template <class F>
PYDL_INLINE void for_each_padded_row(Dims x_shape, Dims before, Dims y_shape, dim mode, dim begin, dim end, F f) {
    for (dim row = begin; row < end; ++row) {
        dim rest = row, source = 0, stride = 1;
        for (dim d = x_shape.size() - 2; d >= 0 && source >= 0; --d) {
            const dim i = pad_source(rest % y_shape[d] - before[d], x_shape[d], mode);
            rest /= y_shape[d];
            source = i < 0 ? -1 : source + i * stride;
            stride *= x_shape[d];
        }
        f(row, source);
    }
}

// x (x_shape, block) -> y (y_shape, block): before[d] positions are put in front of axis d, the rest behind.
// mode: PadMode; value: what constant padding shows. Axes that are not padded may be part of `block`.
template <class T>
void pad(In<T> x, Out<T> y, Dims x_shape, Dims before, Dims y_shape, dim block, dim mode, real value) {
    using Bits = uint_of<T>;  // nothing is looked at
    const auto* from = reinterpret_cast<const Bits*>(x.ptr);
    auto* to = reinterpret_cast<Bits*>(y.ptr);
    const Bits constant = __builtin_bit_cast(Bits, stored_as<T>(value));
    const dim last = x_shape.size() - 1, n = x_shape[last], m = y_shape[last], front = before[last];
    dim rows = 1;
    for (dim d = 0; d < last; ++d) rows *= y_shape[d];
    parallel_for(rows, larger(1, kMoveGrain / larger(1, m * block)), [&](dim begin, dim end) {
        for_each_padded_row(x_shape, before, y_shape, mode, begin, end, [&](dim row, dim source) {
            Bits* out = to + row * m * block;
            if (source < 0) return fill_run(out, constant, m * block);
            const Bits* in = from + source * n * block;
            const auto side = [&](dim first, dim after) {
                if (mode == kPadConstant) return fill_run(out + first * block, constant, (after - first) * block);
                for (dim j = first; j < after; ++j)
                    copy_run(out + j * block, in + pad_source(j - front, n, mode) * block, block);
            };
            side(0, front);
            copy_run(out + front * block, in, n * block);
            side(front + n, m);
        });
    });
}

// dx = the sum of dy over all places that showed each element. On one thread: rows of dy share rows of dx.
template <class T>
void pad_grad(In<T> dy, Out<T> dx, Dims x_shape, Dims before, Dims y_shape, dim block, dim mode) {
    const dim last = x_shape.size() - 1, n = x_shape[last], m = y_shape[last], front = before[last];
    dim rows = 1, size = n * block;
    for (dim d = 0; d < last; ++d) {
        rows *= y_shape[d];
        size *= x_shape[d];
    }
    zero_all(dx.ptr, size);
    for_each_padded_row(x_shape, before, y_shape, mode, 0, rows, [&](dim row, dim source) {
        if (source < 0) return;
        for (dim j = 0; j < m; ++j) {
            const dim i = pad_source(j - front, n, mode);
            if (i < 0) continue;
            const T* from = dy.ptr + (row * m + j) * block;
            T* to = dx.ptr + (source * n + i) * block;
            for (dim c = 0; c < block; ++c) to[c] += from[c];
        }
    });
}

// ----------------------------------------------------------------------------------- roll, triangle

// x, y (rows, width); y[r, (j + shift) % width] = x[r, j], 0 <= shift < width.
template <class T>
void roll(In<T> x, Out<T> y, dim rows, dim width, dim shift) {
    parallel_for(rows, larger(1, kMoveGrain / larger(1, width)), [=](dim begin, dim end) {
        for (dim r = begin; r < end; ++r) {
            copy_run(y.ptr + r * width + shift, x.ptr + r * width, width - shift);
            copy_run(y.ptr + r * width, x.ptr + (r + 1) * width - shift, shift);
        }
    });
}

// x, y (matrices, rows, columns); y keeps what lies on and below diagonal k (lower != 0) or on and above it, and
// is zero elsewhere.
template <class T>
void triangle(In<T> x, Out<T> y, dim matrices, dim rows, dim columns, dim k, dim lower) {
    const dim diagonal = larger(-rows, smaller(k, columns));
    parallel_for(matrices * rows, larger(1, kMoveGrain / larger(1, columns)), [=](dim begin, dim end) {
        for (dim r = begin; r < end; ++r) {
            // lower: the first zero; upper: the first kept
            const dim first_above = r % rows + diagonal + (lower ? 1 : 0);
            const dim cut = first_above < 0 ? 0 : smaller(first_above, columns);
            const T* in = x.ptr + r * columns;
            T* out = y.ptr + r * columns;
            if (lower) {
                copy_run(out, in, cut);
                fill_run(out + cut, T(0), columns - cut);
            } else {
                fill_run(out, T(0), cut);
                copy_run(out + cut, in + cut, columns - cut);
            }
        }
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
