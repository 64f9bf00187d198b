// The loops of element-wise kernels, written once over functors on vec<T>.
#pragma once
#include "base/parallel.h"
#include "kernels/apart.h"
#include "simd/vec.h"

// A functor on vectors must be inlined: vectors cross no call.
#define PYDL_LAMBDA(...) [=](__VA_ARGS__) __attribute__((always_inline))

namespace pydl::PYDL_ISA {
namespace {

// Elements per chunk. Light: a few instructions an element, bound by memory (64K floats of relu: 6 us on one
// AVX-512 core). Heavy: exp and the like (16K floats of exp: 4 us there, 9 us of doubles). Heaviest: what floats take
// through double. Below one chunk no thread wakes.
enum Cost : dim { light = 65536, heavy = 16384, heaviest = 8192 };
// How often the text of a function stands in the object. Of floats it has loops of its own for whole registers, for the
// tail, for one chunk and for many, for repeated operands. Of other types, and where it is long, one loop serves
// all: that takes a third of the time to compile.
template <Cost cost, class T>
constexpr bool has_many_loops = same<T, float> && cost != heaviest;

// Where a result goes: a number, or a comparison's mask as bytes.
template <class T>
PYDL_INLINE void put(T* y, vec<T> v) {
    store(y, v);
}
template <class T>
PYDL_INLINE void put_first(T* y, vec<T> v, dim n) {
    store_partial(y, v, n);
}
template <class T>
struct BoolOut {
    std::uint8_t* ptr;
    PYDL_INLINE BoolOut operator+(dim i) const { return {ptr + i}; }
};
template <class T>
PYDL_INLINE void put(BoolOut<T> y, mask<T> m) {
    store_bool<T>(y.ptr, m);
}
template <class T>
PYDL_INLINE void put_first(BoolOut<T> y, mask<T> m, dim n) {
    std::uint8_t bytes[lanes<T>];
    store_bool<T>(bytes, m);
    for (dim i = 0; i < n; ++i) y.ptr[i] = bytes[i];
}

// y[i] = f(x[i]...) for i < n, all of one element type T; Y is T* or BoolOut<T>, X is const T* or Operand<T>.
template <Cost cost, class T, class Y, class F, class... X>
PYDL_INLINE void map_row(dim n, F f, Y y, X... x) {
    dim i = 0;
    if constexpr (cost == light || has_many_loops<cost, T>) {
        for (; i + lanes<T> <= n; i += lanes<T>) put<T>(y + i, f(load(x + i)...));
        if (i < n) put_first<T>(y + i, f(load_partial(x + i, n - i)...), n - i);
    } else {
        for (; i < n; i += lanes<T>) {
            const auto v = f(load_upto(x + i, n - i)...);
            if (n - i >= lanes<T>) put<T>(y + i, v);
            else put_first<T>(y + i, v, n - i);
        }
    }
}
template <Cost cost, class T, class Y, class F, class... X>
PYDL_INLINE void map(dim n, F f, Y y, const X*... x) {
    const auto row = [=](dim begin, dim end) { map_row<cost, T>(end - begin, f, y + begin, (x + begin)...); };
    if constexpr (has_many_loops<cost, T>) parallel_for(n, cost, row);
    else parallel_for(n, cost, Apart{row});
}

// ------------------------------------------------------------------------------------ broadcasting

// An operand seen through a shape: strides in elements, 0 where it is repeated. Shapes come collapsed:
// neighbouring axes that can be one are one, so the last stride is 1 or 0 and the rank is small.
constexpr dim max_rank = 16;

// Calls row(y offset, offset of each operand, length) for every innermost row. Parallel over rows, or within the
// row when there is one. S is Dims, one per operand.
template <Cost cost, class R, class... S>
PYDL_INLINE void for_rows(Dims shape, R row, S... strides) {
    constexpr int operands = sizeof...(S);
    const dim rank = shape.size(), inner = shape[rank - 1];
    const Dims all[] = {strides...};
    dim rows = 1;
    for (dim d = 0; d < rank - 1; ++d) rows *= shape[d];
    if (rows == 1) {
        parallel_for(inner, cost, [=](dim begin, dim end) {
            dim offset[operands];
            for (int k = 0; k < operands; ++k) offset[k] = begin * all[k][rank - 1];
            row(begin, offset, end - begin);
        });
        return;
    }
    const dim grain = inner >= cost ? 1 : cost / (inner ? inner : 1);
    parallel_for(rows, grain, [=](dim begin, dim end) {
        dim index[max_rank], offset[operands] = {};
        dim rest = begin;
        for (dim d = rank - 2; d >= 0; --d) {
            index[d] = rest % shape[d];
            rest /= shape[d];
            for (int k = 0; k < operands; ++k) offset[k] += index[d] * all[k][d];
        }
        for (dim r = begin; r < end; ++r) {
            row(r * inner, offset, inner);
            for (dim d = rank - 2; d >= 0; --d) {
                for (int k = 0; k < operands; ++k) offset[k] += all[k][d];
                if (++index[d] < shape[d]) break;
                for (int k = 0; k < operands; ++k) offset[k] -= shape[d] * all[k][d];
                index[d] = 0;
            }
        }
    });
}

// A row of an operand: n neighbours, or one value n times (step 0), which is then read from N copies of it.
template <class T>
struct Operand {
    const T* at;
    dim step;
    template <dim N>
    PYDL_INLINE Operand(const T* row, bool repeated, T (&copies)[N]) : at(row), step(!repeated) {
        if (!repeated) return;
        for (T& copy : copies) copy = *row;
        at = copies;
    }
    PYDL_INLINE const T* operator+(dim i) const { return at + step * i; }
};

// y = f(a, b) over `shape`; Y is T* or BoolOut<T>.
template <Cost cost, class T, class Y, class F>
PYDL_INLINE void map_broadcast(Dims shape, F f, Y y, const T* a, Dims stride_a, const T* b, Dims stride_b) {
    const dim last = shape.size() - 1;
    const bool repeat_a = stride_a[last] == 0, repeat_b = stride_b[last] == 0;
    if constexpr (!has_many_loops<cost, T> || !same<Y, T*>) {
        const auto row = [=](dim to, const dim* from, dim n) {
            if (n == 0) return;
            T copies_a[lanes<T>], copies_b[lanes<T>];
            map_row<cost, T>(n, f, y + to, Operand<T>(a + from[0], repeat_a, copies_a),
                             Operand<T>(b + from[1], repeat_b, copies_b));
        };
        return for_rows<cost>(shape, Apart{row}, stride_a, stride_b);
    }
    for_rows<cost>(
        shape,
        [=](dim to, const dim* from, dim n) {
            const T *pa = a + from[0], *pb = b + from[1];
            if (n == 0) return;
            if (repeat_b) {
                const vec<T> vb = splat(*pb);
                if (repeat_a) {
                    const vec<T> va = splat(*pa);
                    map_row<cost, T>(n, PYDL_LAMBDA() { return f(va, vb); }, y + to);
                } else {
                    map_row<cost, T>(n, PYDL_LAMBDA(vec<T> v) { return f(v, vb); }, y + to, pa);
                }
            } else if (repeat_a) {
                const vec<T> va = splat(*pa);
                map_row<cost, T>(n, PYDL_LAMBDA(vec<T> v) { return f(va, v); }, y + to, pb);
            } else {
                map_row<cost, T>(n, f, y + to, pa, pb);
            }
        },
        stride_a, stride_b);
}

// The same element by element, for what no instruction does to a register.
template <class T, class F>
PYDL_INLINE void map_broadcast_each(Dims shape, F f, T* y, const T* a, Dims stride_a, const T* b, Dims stride_b) {
    const dim last = shape.size() - 1, step_a = stride_a[last], step_b = stride_b[last];
    const auto row = [=](dim to, const dim* from, dim n) {
        const T *pa = a + from[0], *pb = b + from[1];
        for (dim i = 0; i < n; ++i) y[to + i] = f(pa[step_a * i], pb[step_b * i]);
    };
    for_rows<heaviest>(shape, Apart{row}, stride_a, stride_b);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
