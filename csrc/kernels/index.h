// Family index: data movement whose geometry is read from an index tensor when the step runs. Indices are int32,
// validated beforehand by check_index; negative ones count from the end.
#pragma once
#include "kernels/number.h"
#include "kernels/sort.h"
#include "kernels/strided.h"

namespace pydl::PYDL_ISA {
namespace {

// The first i with not (low <= x[i] < high), or -1. NaN is out of range.
template <class T>
dim check_index(In<T> x, dim n, dim low, dim high) {
    constexpr dim block = 512;
    for (dim begin = 0; begin < n; begin += block) {
        const dim end = smaller(n, begin + block);
        int bad = 0;
        const auto outside = [=](T v) __attribute__((always_inline)) {
            if constexpr (is_floating<T>) return !(v >= static_cast<T>(low)) | !(v < static_cast<T>(high));
            else return (static_cast<dim>(v) < low) | (static_cast<dim>(v) >= high);
        };
        for (dim i = begin; i < end; ++i) bad |= outside(x[i]);
        if (!bad) continue;
        for (dim i = begin; i < end; ++i)
            if (outside(x[i])) return i;
    }
    return -1;
}

// The row that a tuple of indices (as long as `shape`) names.
PYDL_INLINE dim row_of(const std::int32_t* tuple, Dims shape) {
    dim row = 0;
    for (dim d = 0; d < shape.size(); ++d) row = row * shape[d] + tuple[d] + (tuple[d] < 0 ? shape[d] : 0);
    return row;
}
PYDL_INLINE dim rows_in(Dims shape) {
    dim rows = 1;
    for (dim d = 0; d < shape.size(); ++d) rows *= shape[d];
    return rows;
}

// x (outer, shape..., width), index (n, rank of shape) -> y (outer, n, width): y[o, i] = x[o, index[i]].
template <class T>
void gather(In<T> x, In<std::int32_t> index, Out<T> y, dim outer, dim n, Dims shape, dim width) {
    const dim rows = rows_in(shape), rank = shape.size();
    parallel_for(outer * n, larger(1, kMoveGrain / 2 / larger(1, width)), [=](dim begin, dim end) {
        dim o = begin / larger(1, n), i = begin % larger(1, n);
        for (dim unit = begin; unit < end; ++unit) {
            const T* from = x.ptr + (o * rows + row_of(index.ptr + i * rank, shape)) * width;
            if (width == 1) y[unit] = *from;
            else copy_run(y.ptr + unit * width, from, width);
            if (++i == n) {
                i = 0;
                ++o;
            }
        }
    });
}

enum ScatterMode : dim { kScatterSet, kScatterAdd, kScatterMultiply, kScatterMaximum, kScatterMinimum };

template <class T>
PYDL_INLINE void combine_run(T* y, const T* x, dim n, dim mode) {
    using W = wrapping<T>;
    auto* const sums = reinterpret_cast<W*>(y);
    const auto* const terms = reinterpret_cast<const W*>(x);
    switch (mode) {
        case kScatterSet: return copy_run(y, x, n);
        case kScatterMultiply:
            for (dim c = 0; c < n; ++c) sums[c] = static_cast<W>(sums[c] * terms[c]);
            return;
        case kScatterMaximum:
            for (dim c = 0; c < n; ++c) y[c] = y[c] > x[c] || y[c] != y[c] ? y[c] : x[c];
            return;
        case kScatterMinimum:
            for (dim c = 0; c < n; ++c) y[c] = y[c] < x[c] || y[c] != y[c] ? y[c] : x[c];
            return;
        default: {
            dim c = 0;
            for (; c + lanes<W> <= n; c += lanes<W>) store<W>(sums + c, load(sums + c) + load(terms + c));
            for (; c < n; ++c) sums[c] = static_cast<W>(sums[c] + terms[c]);
        }
    }
}

// y (outer, shape..., width) = base or zeros, then y[o, index[i]] = or += or ... updates[o, i] in the order of i.
// base (as y), index (n, rank of shape), updates (outer, n, width); mode: ScatterMode.
// With kScatterAdd the gradient of gather. Work is split by outer, columns and ranges of rows of y, so that every
// element of y sees its updates in one order, whatever the number of threads.
template <class T>
void scatter(OptIn<T> base, In<std::int32_t> index, In<T> updates, Out<T> y, dim outer, dim n, Dims shape, dim width,
             dim mode) {
    const dim rows = rows_in(shape), rank = shape.size();
    if (base.ptr) copy_all(y.ptr, base.ptr, outer * rows * width);
    else zero_all(y.ptr, outer * rows * width);
    if (n * width == 0) return;
    constexpr dim columns = 64;
    const bool large = outer * n * width > kMoveGrain;
    const dim column_blocks = large && width >= 2 * columns ? width / columns : 1;
    const dim wanted = large ? smaller(8, outer * n * width / (kMoveGrain / 2)) : 1;
    const dim ranges = larger(1, wanted / (outer * column_blocks));  // each reads the whole index
    const dim units = outer * column_blocks * ranges;
    const dim grain = large ? larger(1, kMoveGrain / 2 * ranges / (n * (width / column_blocks))) : units;
    parallel_for(units, grain, [=](dim begin, dim end) {
        for (dim unit = begin; unit < end; ++unit) {
            const dim range = unit % ranges, block = unit / ranges % column_blocks;
            const dim o = unit / ranges / column_blocks;
            const dim first = rows * range / ranges, last = rows * (range + 1) / ranges;
            const dim from = block * columns, to = block + 1 == column_blocks ? width : from + columns;
            const T* u = updates.ptr + o * n * width + from;
            T* out = y.ptr + o * rows * width + from;
            for (dim i = 0; i < n; ++i) {
                const dim row = row_of(index.ptr + i * rank, shape);
                if (row >= first && row < last) combine_run(out + row * width, u + i * width, to - from, mode);
            }
        }
    });
}

// x (outer, n, inner), index, y (outer, m, inner): y[o, j, i] = x[o, index[o, j, i], i].
template <class T>
void take_along(In<T> x, In<std::int32_t> index, Out<T> y, dim outer, dim n, dim m, dim inner) {
    parallel_for(outer, larger(1, kMoveGrain / 2 / larger(1, m * inner)), [=](dim begin, dim end) {
        for (dim o = begin; o < end; ++o)
            for (dim j = 0; j < m; ++j)
                for (dim i = 0; i < inner; ++i) {
                    const dim at = (o * m + j) * inner + i;
                    const dim k = index[at];
                    y[at] = x[(o * n + (k < 0 ? k + n : k)) * inner + i];
                }
    });
}

// dx (outer, n, inner): the sums of dy (outer, m, inner) that came from each element.
template <class T>
void take_along_grad(In<std::int32_t> index, In<T> dy, Out<T> dx, dim outer, dim n, dim m, dim inner) {
    parallel_for(outer, larger(1, kMoveGrain / 2 / larger(1, (n + m) * inner)), [=](dim begin, dim end) {
        __builtin_memset(dx.ptr + begin * n * inner, 0,
                         static_cast<std::size_t>((end - begin) * n * inner) * sizeof(T));
        for (dim o = begin; o < end; ++o)
            for (dim j = 0; j < m; ++j)
                for (dim i = 0; i < inner; ++i) {
                    const dim at = (o * m + j) * inner + i;
                    const dim k = index[at];
                    dx[(o * n + (k < 0 ? k + n : k)) * inner + i] += dy[at];
                }
    });
}

// index (outer, inner) -> y (outer, classes, inner): y[o, index[o, i], i] = 1, else 0. An index outside
// 0..classes-1 gives no 1.
template <class T>
void one_hot(In<std::int32_t> index, Out<T> y, dim outer, dim classes, dim inner) {
    const T one = stored_as<T>(1);
    parallel_for(outer, larger(1, kMoveGrain / larger(1, classes * inner)), [=](dim begin, dim end) {
        __builtin_memset(y.ptr + begin * classes * inner, 0,
                         static_cast<std::size_t>((end - begin) * classes * inner) * sizeof(T));
        for (dim o = begin; o < end; ++o)
            for (dim i = 0; i < inner; ++i) {
                const dim k = index[o * inner + i];
                if (k >= 0 && k < classes) y[(o * classes + k) * inner + i] = one;
            }
    });
}

// index (rows, n) -> y (rows, classes): 1 where a row of `index` names the class, else 0.
template <class T>
void multi_hot(In<std::int32_t> index, Out<T> y, dim rows, dim n, dim classes) {
    const T one = stored_as<T>(1);
    parallel_for(rows, larger(1, kMoveGrain / larger(1, classes + n)), [=](dim begin, dim end) {
        __builtin_memset(y.ptr + begin * classes, 0, static_cast<std::size_t>((end - begin) * classes) * sizeof(T));
        for (dim r = begin; r < end; ++r)
            for (dim i = 0; i < n; ++i) {
                const dim k = index[r * n + i];
                if (k >= 0 && k < classes) y[r * classes + k] = one;
            }
    });
}

// index (rows, n), weights (rows, n) or null for ones -> y (rows, bins): the sum of weights per bin. Indices
// outside 0..bins-1 do not count. Integers wrap.
template <class T>
void bincount(In<std::int32_t> index, OptIn<T> weights, Out<T> y, dim rows, dim n, dim bins) {
    using W = wrapping<T>;
    auto* const sums = reinterpret_cast<W*>(y.ptr);
    const auto* const terms = reinterpret_cast<const W*>(weights.ptr);
    parallel_for(rows, larger(1, kMoveGrain / larger(1, n + bins)), [=](dim begin, dim end) {
        __builtin_memset(y.ptr + begin * bins, 0, static_cast<std::size_t>((end - begin) * bins) * sizeof(T));
        for (dim r = begin; r < end; ++r)
            for (dim i = 0; i < n; ++i) {
                const dim k = index[r * n + i];
                if (k >= 0 && k < bins) sums[r * bins + k] += terms ? terms[r * n + i] : W(1);
            }
    });
}

// ------------------------------------------------------------------------------- rows of a data set

// x (any rows, width) -> y (n, width): y[i] = x[index[i]], converted. What `fit` cuts its batches with.
template <class T, class U>
void gather_rows(In<T> x, In<std::int32_t> index, Out<U> y, dim n, dim width) {
    parallel_for(n, larger(1, kMoveGrain / 2 / larger(1, width)), [=](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) cast_run(x.ptr + index[i] * width, y.ptr + i * width, width);
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
