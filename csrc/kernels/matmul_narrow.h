// Products of narrow types: operands are widened while they are packed; C is summed in strips of the computed type, with
// everything its elements end with, and narrowed strip by strip. The bits are those of the computed type, rounded once.
#pragma once
#include "kernels/gemm.h"
#include "kernels/number.h"

namespace pydl::PYDL_ISA {
namespace {

// As Result, of a product in S. `bias` and what follows are of the computed type.
template <class S>
struct NarrowResult {
    S* c;
    const compute<S>* bias;
    bool accumulate;
    compute<S> floor;
    void (*finish)(compute<S>* c, dim rows, dim columns, dim stride);
};

// Rows of C that share a packed slice of B: 224 x 512 floats on AVX-512, half of its L2.
template <class T>
constexpr dim strip_rows = 16 * Blocking<T>::rows;

// Room of this thread for n elements of C as they are computed. One strip at a time: a matrix takes it for each block,
// a row for itself.
template <class T>
PYDL_INLINE T* strip_of(dim n) {
    return scratch<T>(Slot::product_strip, n);
}

// The rows i0..i1 and columns j0..j1 of c (any rows, n).
template <class S, class A, class B>
void narrow_part(dim i0, dim i1, dim j0, dim j1, dim n, dim k, const A& a, const B& b, const NarrowResult<S>& out) {
    using T = compute<S>;
    constexpr dim wide = Blocking<T>::columns;
    T* strip = strip_of<T>(strip_rows<T> * wide);
    for (dim j = j0; j < j1; j += wide) {
        const dim columns = least(wide, j1 - j);
        for (dim i = i0; i < i1; i += strip_rows<T>) {
            const dim rows = least(strip_rows<T>, i1 - i);
            S* c = out.c + i * n + j;
            for (dim r = 0; out.accumulate && r < rows; ++r) cast_run(c + r * n, strip + r * columns, columns);
            const Result<T> part{strip - i * columns - j, columns, out.bias, out.accumulate, out.floor, out.finish};
            gemm_part(i, i + rows, j, j + columns, k, a, b, part);
            for (dim r = 0; r < rows; ++r) cast_run(strip + r * columns, c + r * n, columns);
        }
    }
}

}  // namespace
}  // namespace pydl::PYDL_ISA
