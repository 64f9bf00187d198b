// C = op(A) op(B) by register tiles: R rows x V vectors of C stay in registers while k runs.
//
//      C(m, n) cut into column blocks of `columns`, k into slices of `depth`. Per slice:
//        B slice: used where it lies when it is stored by rows, copied into panels when that pays
//        for each panel of R rows of A, where it lies or copied into L1:
//          for each panel of V vectors of B: one tile
//
// An operand is a small class that hands out panels: where A or B is stored differently, or is not stored at all
// (convolution gathers patches), write another operand and keep the rest. An element of C is the sum over k in
// order, one fused multiply-add each, whatever the tile or the thread: bits depend on nothing else.
#pragma once
#include "base/memory.h"
#include "base/parallel.h"
#include "base/tail.h"
#include "kernels/tiles.h"

namespace pydl::PYDL_ISA {
namespace {

template <class T>
PYDL_INLINE constexpr T least(T a, T b) {
    return a < b ? a : b;
}
PYDL_INLINE constexpr dim ceil_div(dim a, dim b) { return (a + b - 1) / b; }
// n cut into equal parts of at most `limit`: the size of a part.
PYDL_INLINE constexpr dim even_part(dim n, dim limit) { return n <= limit ? n : ceil_div(n, ceil_div(n, limit)); }

// --------------------------------------------------------------------------------------- operands

// Where a panel lies and how far its rows (KMajor A, B: its slices of k) are apart.
template <class T>
struct Panel {
    const T* at;
    dim stride;
};

// An odd number of cache lines, at least n elements: rows at this distance do not compete for cache sets.
template <class T>
PYDL_INLINE constexpr dim odd_lines(dim n) {
    constexpr dim line = 64 / sizeof(T);
    return (ceil_div(n, line) | 1) * line;
}

// A (m, k) stored by rows, ld apart. Here and below: S is what lies in memory; a narrow type is widened by copying.
template <class T, class S = T>
struct RowsOfA {
    static constexpr bool k_major = false;
    const S* p;
    dim ld;
    bool copy;

    PYDL_INLINE Panel<T> panel(dim i, dim rows, dim k0, dim depth, T* buffer) const {
        const S* from = p + i * ld + k0;
        if constexpr (!is_narrow<S>)
            if (!copy) return {from, ld};
        const dim stride = odd_lines<T>(depth);
        for (dim r = 0; r < rows; ++r, from += ld) {
            T* to = buffer + r * stride;
            dim q = 0;
            for (; q + lanes<T> <= depth; q += lanes<T>) store(to + q, load(from + q));
            if (q < depth) store(to + q, load_partial(from + q, depth - q));
        }
        return {buffer, stride};
    }
};

// A (m, k) stored by columns (transposed), ld apart.
template <class T, class S = T>
struct ColumnsOfA {
    static constexpr bool k_major = true;
    const S* p;
    dim ld;
    bool copy;

    PYDL_INLINE Panel<T> panel(dim i, dim rows, dim k0, dim depth, T* buffer) const {
        const S* from = p + k0 * ld + i;
        if constexpr (!is_narrow<S>)
            if (!copy) return {from, ld};
        constexpr dim stride = ceil_div(Blocking<T>::rows, lanes<T>) * lanes<T>;
        for (dim q = 0; q < depth; ++q)
            for (dim r = 0; r < rows; r += lanes<T>)
                store(buffer + q * stride + r, load_upto(from + q * ld + r, rows - r));
        return {buffer, stride};
    }
};

// B (k, n) stored by rows, ld apart.
template <class T, class S = T>
struct RowsOfB {
    const S* p;
    dim ld;
    bool copy;

    // Fills `buffer` with the slice k0.. of depth x columns j..: panels of `width` columns one after the other.
    PYDL_INLINE void pack(dim j, dim columns, dim k0, dim depth, T* buffer) const {
        constexpr dim width = Blocking<T>::width, L = lanes<T>;
        for (dim q = 0; q < depth; ++q) {
            const S* from = p + (k0 + q) * ld + j;
            T* to = buffer + q * width;
            dim x = 0;
            for (; x + width <= columns; x += width, to += depth * width) {
                PYDL_UNROLL for (dim v = 0; v < width; v += L) store(to + v, load(from + x + v));
            }
            for (dim v = 0; x < columns; x += L, v += L) store(to + v, load_upto(from + x, columns - x));
        }
    }
    PYDL_INLINE Panel<T> in_place(dim j, dim k0) const {
        if constexpr (is_narrow<S>) return {nullptr, 0};
        else return {p + k0 * ld + j, ld};
    }
};

// B (k, n) stored by columns (transposed), ld apart: always packed, by transposing squares in registers.
template <class T, class S = T>
struct ColumnsOfB {
    static constexpr bool copy = true;
    const S* p;
    dim ld;

    PYDL_INLINE void pack(dim j, dim columns, dim k0, dim depth, T* buffer) const {
        constexpr dim width = Blocking<T>::width, L = lanes<T>;
        for (dim x = 0; x < columns; x += L) {
            T* to = buffer + x / width * width * depth + x % width;
            const S* from = p + (j + x) * ld + k0;
            const dim columns_left = columns - x;
            for (dim q = 0; q < depth; q += L) {
                vec<T> square[L];
                if (columns_left >= L && depth - q >= L) {
                    PYDL_UNROLL for (dim i = 0; i < L; ++i) square[i] = load(from + i * ld + q);
                } else {
                    PYDL_UNROLL for (dim i = 0; i < L; ++i) square[i] =
                        i < columns_left ? load_upto(from + i * ld + q, depth - q) : vec<T>{};
                }
                transpose<T>(square);
                if (depth - q >= L) {
                    PYDL_UNROLL for (dim i = 0; i < L; ++i) store(to + (q + i) * width, square[i]);
                } else {
                    PYDL_UNROLL for (dim i = 0; i < L; ++i) if (i < depth - q) store(to + (q + i) * width, square[i]);
                }
            }
        }
    }
    PYDL_INLINE Panel<T> in_place(dim, dim) const { return {nullptr, 0}; }
};

// ---------------------------------------------------------------------------------------- drivers

// Where the result goes. `finish(c, rows, columns, stride)` is called on finished rows while they are in cache; so is
// `tail`, where whole rows are finished at once.
template <class T>
struct Result {
    T* c;
    dim stride;
    const T* bias;    // (n), or null
    bool accumulate;  // start from what c holds; excludes bias
    T floor;
    void (*finish)(T* c, dim rows, dim columns, dim stride);
    const Tail* tail = nullptr;
};

// Elements that are worth a call of a tail: 8 KB of floats, which lie in L1 when it begins.
constexpr dim tail_part = 2048;

// Whether copying an operand of `bytes` that is used `uses` times pays. Measured (AVX-512, Zen 4): a copy loses up to
// 512 x 512 operands (105 -> 97 GFLOP/s at 512^3, 114 -> 94 at 128x784x128, even with rows 8 KB apart) and wins when
// the operand is far larger than L2 (70 -> 94 at 1024^3, both copied).
PYDL_INLINE constexpr bool worth_a_copy(dim bytes, dim uses) { return bytes > (dim{5} << 18) && uses >= 256; }

template <class T>
constexpr T minus_infinity = -__builtin_inf();

// The rows i0..i1 and columns j0..j1 of C, all of k, on the calling thread; with a tail all columns.
template <class T, class A, class B>
void gemm_part(dim i0, dim i1, dim j0, dim j1, dim k, const A& a, const B& b, const Result<T>& out) {
    using Block = Blocking<T>;
    constexpr dim width = Block::width, L = lanes<T>;
    const dim depth = even_part(k, Block::depth), columns = even_part(j1 - j0, Block::columns);
    const dim rows = even_part(i1 - i0, Block::rows);
    T *packed_a = nullptr, *packed_b = nullptr;
    if (a.copy) packed_a = scratch<T>(Slot::left_operand, (Block::rows + L) * odd_lines<T>(depth + L));
    if (b.copy) packed_b = scratch<T>(Slot::right_operand, ceil_div(columns, width) * width * depth);

    Poll poll;
    for (dim j = j0; j < j1; j += columns) {
        const dim n = least(columns, j1 - j);
        dim k0 = 0;
        do {
            const dim kc = least(depth, k - k0);
            const bool first = k0 == 0, final = k0 + kc == k;
            if (b.copy) b.pack(j, n, k0, kc, packed_b);
            const dim panel_stride = b.copy ? width * kc : width;
            const Panel<T> slice = b.copy ? Panel<T>{packed_b, width} : b.in_place(j, k0);
            Ends<T> ends{};
            ends.stride = first && !out.accumulate ? 0 : out.stride;
            ends.floor = final ? out.floor : minus_infinity<T>;
            const bool whole = final && out.tail && j + n == j1;
            dim done = i0;  // rows that the tail has seen
            for (dim i = i0; i < i1; i += rows) {
                const dim m = least(rows, i1 - i);
                if (poll(m * n * kc)) return;
                const Panel<T> strip = a.panel(i, m, k0, kc, packed_a);
                T* c = out.c + i * out.stride + j;
                const auto& row_of_tiles = tiles<T, A::k_major>.of[m - 1];
                for (dim x = 0; x < n; x += width) {
                    const dim left = least(width, n - x);
                    ends.start = !first || out.accumulate ? c + x : out.bias ? out.bias + j + x : nullptr;
                    row_of_tiles[(left - 1) / L][left % L != 0](kc, strip.at, strip.stride,
                                                                slice.at + x / width * panel_stride, slice.stride,
                                                                c + x, out.stride, ends, left % L, one_run);
                }
                if (final && out.finish) out.finish(c, m, n, out.stride);
                if (whole && (i + m == i1 || (i + m - done) * out.stride >= tail_part)) {
                    (*out.tail)(done* out.stride, (i + m) * out.stride);
                    done = i + m;
                }
            }
            k0 += kc;
        } while (k0 < k);
    }
}

}  // namespace
}  // namespace pydl::PYDL_ISA
