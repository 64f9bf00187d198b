// Cumulative sums and products along an axis. Part of family shape.
#pragma once
#include "kernels/strided.h"

namespace pydl::PYDL_ISA {
namespace {

// Calls f(position of the first element, columns) for blocks of columns of (outer, n, inner), in parallel.
template <class F>
PYDL_INLINE void for_each_column_block(dim outer, dim n, dim inner, F f) {
    const dim width = smaller(inner, larger(16, kMoveGrain / larger(1, n))), blocks = ceil_div(inner, width);
    parallel_for(outer * blocks, larger(1, kMoveGrain / larger(1, n * width)), [&](dim begin, dim end) {
        for (dim unit = begin; unit < end; ++unit) {
            const dim first = unit % blocks * width;
            f(unit / blocks * n * inner + first, smaller(width, inner - first));
        }
    });
}

// Running sums of `R` rows of n side by side: one row alone waits for each addition to finish.
template <dim R, class T>
PYDL_INLINE void cumsum_rows(const T* x, T* y, dim n, dim step) {
    T sum[R] = {};
    for (dim j = 0, p = step < 0 ? n - 1 : 0; j < n; ++j, p += step)
        PYDL_UNROLL for (dim r = 0; r < R; ++r) y[r * n + p] = sum[r] += x[r * n + p];
}

// numbers, sums (outer, n, inner); y[o, j, i] = sum of x[o, 0..j, i], or of x[o, j..n-1, i] with reverse != 0.
// The reverse sum is the gradient of the forward one. Integers wrap.
template <class T>
void cumsum(In<T> numbers, Out<T> sums, dim outer, dim n, dim inner, dim reverse) {
    if (n == 0 || inner == 0) return;
    const auto* const x = reinterpret_cast<const wrapping<T>*>(numbers.ptr);
    auto* const y = reinterpret_cast<wrapping<T>*>(sums.ptr);
    if (inner == 1) {
        const dim step = reverse ? -1 : 1;
        parallel_for(outer, larger(8, kMoveGrain / 4 / n), [=](dim begin, dim end) {
            dim r = begin;
            for (; r + 8 <= end; r += 8) cumsum_rows<8>(x + r * n, y + r * n, n, step);
            for (; r < end; ++r) cumsum_rows<1>(x + r * n, y + r * n, n, step);
        });
        return;
    }
    for_each_column_block(outer, n, inner, [=](dim at, dim columns) {
        const dim step = reverse ? -inner : inner;
        const dim start = at + (reverse ? (n - 1) * inner : 0);
        for (dim i = 0; i < columns; ++i) y[start + i] = x[start + i];
        for (dim j = 1; j < n; ++j) {
            const dim p = start + j * step;
            for (dim i = 0; i < columns; ++i) y[p + i] = y[p - step + i] + x[p + i];
        }
    });
}

// numbers, products (outer, n, inner); y[o, j, i] = product of x[o, 0..j, i]. Integers wrap.
template <class T>
void cumprod(In<T> numbers, Out<T> products, dim outer, dim n, dim inner) {
    if (n == 0 || inner == 0) return;
    const auto* const x = reinterpret_cast<const wrapping<T>*>(numbers.ptr);
    auto* const y = reinterpret_cast<wrapping<T>*>(products.ptr);
    for_each_column_block(outer, n, inner, [=](dim at, dim columns) {
        for (dim i = 0; i < columns; ++i) y[at + i] = x[at + i];
        for (dim j = 1; j < n; ++j) {
            const dim p = at + j * inner;
            for (dim i = 0; i < columns; ++i) y[p + i] = y[p - inner + i] * x[p + i];
        }
    });
}

// Back through y_j = y_{j-1} x_j: total_j = dy_j + total_{j+1} x_{j+1}, dx_j = total_j y_{j-1}. No division, so
// zeros in x are harmless.
template <class T>
void cumprod_grad(In<T> x, In<T> y, In<T> dy, Out<T> dx, dim outer, dim n, dim inner) {
    if (n == 0 || inner == 0) return;
    for_each_column_block(outer, n, inner, [=](dim at, dim columns) {
        for (dim i = 0; i < columns; ++i) {
            T total = 0;
            for (dim j = n - 1; j >= 0; --j) {
                const dim p = at + j * inner + i;
                total = dy[p] + (j + 1 < n ? total * x[p + inner] : T(0));
                dx[p] = j > 0 ? total * y[p - inner] : total;
            }
        }
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
