// Family matmul: products of matrices, vectors and batches of them; the dense layer's epilogue and its gradient.
#pragma once
#include "base/parallel.h"
#include "kernels/derivatives.h"
#include "kernels/gemm.h"
#include "kernels/matmul_narrow.h"
#include "simd/math.h"

namespace pydl::PYDL_ISA {
namespace {

// ------------------------------------------------------------------------------------- activations

// Activations a product can end with: those whose derivative follows from their value. The numbers are pydl/ops/linalg.py's.
enum : dim { act_linear = 0, act_relu = 1, act_sigmoid = 2, act_tanh = 3 };

// y(rows, columns) = f(y), rows `stride` apart.
template <class T, class F>
PYDL_INLINE void for_each_row(T* y, dim rows, dim columns, dim stride, F f) {
    if (stride == columns) {
        columns *= rows;
        rows = 1;
    }
    for (dim i = 0; i < rows; ++i, y += stride)
        for (dim j = 0; j < columns; j += lanes<T>) store_upto(y + j, f(load_upto(y + j, columns - j)), columns - j);
}
template <class T>
void finish_sigmoid(T* y, dim rows, dim columns, dim stride) {
    for_each_row(y, rows, columns, stride, [](vec<T> v) __attribute__((always_inline)) { return sigmoid(v); });
}
template <class T>
void finish_tanh(T* y, dim rows, dim columns, dim stride) {
    for_each_row(y, rows, columns, stride, [](vec<T> v) __attribute__((always_inline)) { return tanh(v); });
}

template <class S>
PYDL_INLINE auto result_of(S* c, dim n, const S* bias, bool accumulate, dim activation) {
    using T = compute<S>;
    const T floor = activation == act_relu ? T(0) : minus_infinity<T>;
    const auto finish = activation == act_sigmoid ? finish_sigmoid<T>
                        : activation == act_tanh  ? finish_tanh<T>
                                                  : nullptr;
    if constexpr (is_narrow<S>) {
        T* wide = nullptr;
        if (bias) {
            wide = scratch<T>(Slot::widened_bias, n);
            cast_run(bias, wide, n);
        }
        return NarrowResult<S>{c, wide, accumulate, floor, finish};
    } else {
        return Result<T>{c, n, bias, accumulate, floor, finish};
    }
}

// ------------------------------------------------------------------------------- vector times matrix

// The columns j0..j1 of c(n) = a(k) B, B (k, n) by rows.
template <class T>
void row_times_rows(dim j0, dim j1, dim k, const T* a, const T* b, dim ldb, const Result<T>& out) {
    constexpr dim L = lanes<T>, width = row_vectors * L;
    for (dim j = j0; j < j1; j += width) {
        const dim left = least(width, j1 - j);
        const Ends<T> ends{out.accumulate ? out.c + j : out.bias ? out.bias + j : nullptr, 0, out.floor};
        tiles_of<T>().row[(left - 1) / L][left % L != 0](k, a, 1, b + j, ldb, out.c + j, 0, ends, left % L, one_run);
    }
}

// The same with B stored by columns (n, k): one vector of c is as many dot products, summed across lanes by a
// transposition. Columns past the end repeat the last one.
template <class T, class S>
void row_times_columns(dim j0, dim j1, dim k, const T* a, const S* b, dim ldb, const Result<T>& out) {
    constexpr dim L = lanes<T>;
    for (dim j = j0; j < j1; j += L) {
        const dim left = least(L, j1 - j);
        const S* column[L];
        PYDL_UNROLL for (dim x = 0; x < L; ++x) column[x] = b + (j + least(x, left - 1)) * ldb;
        vec<T> acc[L];
        PYDL_UNROLL for (dim x = 0; x < L; ++x) acc[x] = vec<T>{};
        dim p = 0;
        for (; p + L <= k; p += L) {
            const vec<T> v = load(a + p);
            PYDL_UNROLL for (dim x = 0; x < L; ++x) acc[x] = fma(v, load(column[x] + p), acc[x]);
        }
        if (p < k) {
            const vec<T> v = load_partial(a + p, k - p);
            PYDL_UNROLL for (dim x = 0; x < L; ++x) acc[x] = fma(v, load_partial(column[x] + p, k - p), acc[x]);
        }
        transpose<T>(acc);
        const auto add_pairs = [&]<dim step>() __attribute__((always_inline)) {
            PYDL_UNROLL for (dim x = 0; x + step < L; x += 2 * step) acc[x] = acc[x] + acc[x + step];
        };
        add_pairs.template operator()<1>();
        add_pairs.template operator()<2>();
        add_pairs.template operator()<4>();
        add_pairs.template operator()<8>();
        vec<T> y = acc[0];
        if (out.accumulate) y = y + load_upto(out.c + j, left);
        else if (out.bias) y = y + load_upto(out.bias + j, left);
        store_upto(out.c + j, max(splat(out.floor), y), left);
    }
}

// ------------------------------------------------------------------------------------ one product

// Operations (2 m n k) worth a thread of their own: 9 microseconds on one core with AVX-512.
constexpr dim part_work = 1'000'000;
constexpr dim most_parts = 16;

// f(rows i0..i1, columns j0..j1) for the parts of c; `whole`: only rows are parted.
template <class T, class F>
PYDL_INLINE void in_parts(dim m, dim n, dim k, bool whole, F f) {
    const dim parts = least(most_parts, 2 * m * n * k / part_work);
    if (parts < 2) return f(0, m, 0, n);
    dim across = 1, down = 1;
    while (across * down < parts) (!whole && n / across >= m / down ? across : down) *= 2;
    const dim columns = ceil_div(ceil_div(n, across), Blocking<T>::width) * Blocking<T>::width;
    const dim rows = ceil_div(ceil_div(m, down), Blocking<T>::rows) * Blocking<T>::rows;
    const dim wide = ceil_div(n, columns), high = ceil_div(m, rows);
    parallel_for(wide * high, 1, [&](dim begin, dim end) {
        for (dim part = begin; part < end; ++part) {
            const dim i = part % high * rows, j = part / high * columns;
            f(i, least(m, i + rows), j, least(n, j + columns));
        }
    });
}

// The tail of the running kernel, where products lose nothing by being parted in rows only.
template <class T>
PYDL_INLINE const Tail* tail_of_product(dim m, dim n, dim k) {
    const dim parts = least(most_parts, 2 * m * n * k / part_work) + 1;
    const bool fits = n > 1 && m >= 2 * parts * Blocking<T>::rows && k * n * sizeof(T) <= (dim{512} << 10);
    return fits ? take_tail(n) : nullptr;
}

template <class T>
struct Product {
    dim m, n, k;
    bool trans_a, trans_b;
};

// c(m, n) = op(a)(m, k) op(b)(k, n), with what `out` adds.
template <class T>
void multiply(Product<T> s, const T* a, const T* b, Result<T> out) {
    if (s.n == 1 && s.m > 1) {  // a column: the same memory as the row of the transposed product
        if (out.bias) {
            for (dim i = 0; i < s.m; ++i) out.c[i] = out.bias[0];
            out.bias = nullptr;
            out.accumulate = true;
        }
        out.stride = s.m;
        return multiply({1, s.m, s.k, false, !s.trans_a}, b, a, out);
    }
    if (s.m == 1 || s.k == 1) s.trans_a = false;
    if (s.k == 1) s.trans_b = false;
    const auto [m, n, k, trans_a, trans_b] = s;
    if (m == 1)
        return in_parts<T>(m, n, k, false, [=](dim, dim, dim j0, dim j1) {
            trans_b ? row_times_columns(j0, j1, k, a, b, k, out) : row_times_rows(j0, j1, k, a, b, n, out);
            if (out.finish) out.finish(out.c + j0, 1, j1 - j0, j1 - j0);
        });
    in_parts<T>(m, n, k, out.tail, [=](dim i0, dim i1, dim j0, dim j1) {
        const bool copy_a = worth_a_copy(m * k * sizeof(T), n), copy_b = worth_a_copy(k * n * sizeof(T), m);
        const auto with = [&](const auto& operand_a) {
            if (trans_b) gemm_part(i0, i1, j0, j1, k, operand_a, ColumnsOfB<T>{b, k}, out);
            else gemm_part(i0, i1, j0, j1, k, operand_a, RowsOfB<T>{b, n, copy_b}, out);
        };
        trans_a ? with(ColumnsOfA<T>{a, m, copy_a}) : with(RowsOfA<T>{a, k, copy_a});
    });
}

// The same for narrow types.
template <class S>
void multiply(Product<S> s, const S* a, const S* b, NarrowResult<S> out) {
    using T = compute<S>;
    if (s.n == 1 && s.m > 1) {
        if (out.bias) {
            T* biases = scratch<T>(Slot::column_bias, s.m);
            for (dim i = 0; i < s.m; ++i) biases[i] = out.bias[0];
            out.bias = biases;
        }
        return multiply({1, s.m, s.k, false, !s.trans_a}, b, a, out);
    }
    if (s.m == 1 || s.k == 1) s.trans_a = false;
    if (s.k == 1) s.trans_b = false;
    const auto [m, n, k, trans_a, trans_b] = s;
    if (m == 1 && trans_b) {
        T* row = scratch<T>(Slot::widened_row, k);
        cast_run(a, row, k);
        return in_parts<T>(m, n, k, false, [=](dim, dim, dim j0, dim j1) {
            T* c = strip_of<T>(j1 - j0);
            if (out.accumulate) cast_run(out.c + j0, c, j1 - j0);
            const Result<T> part{c - j0, n, out.bias, out.accumulate, out.floor, nullptr};
            row_times_columns(j0, j1, k, row, b, k, part);
            if (out.finish) out.finish(c, 1, j1 - j0, j1 - j0);
            cast_run(c, out.c + j0, j1 - j0);
        });
    }
    in_parts<T>(m, n, k, false, [=](dim i0, dim i1, dim j0, dim j1) {
        const auto with = [&](const auto& operand_a) {
            if (trans_b) narrow_part(i0, i1, j0, j1, n, k, operand_a, ColumnsOfB<T, S>{b, k}, out);
            else narrow_part(i0, i1, j0, j1, n, k, operand_a, RowsOfB<T, S>{b, n, true}, out);
        };
        trans_a ? with(ColumnsOfA<T, S>{a, m, true}) : with(RowsOfA<T, S>{a, k, true});
    });
}

// A batch of them: pairs are stride_a and stride_b elements apart, 0 for one matrix shared by all.
template <class T, class Out>
PYDL_INLINE void multiply_batch(Product<T> s, const T* a, const T* b, dim batch, dim stride_a, dim stride_b, Out out) {
    if (batch == 0 || s.m == 0 || s.n == 0) return;
    if (batch > 1 && stride_b == 0 && !s.trans_a && stride_a == s.m * s.k) {  // one tall product
        s.m *= batch;
        batch = 1;
    }
    if (batch == 1) return multiply(s, a, b, out);
    const dim work = 2 * s.m * s.n * s.k, size = s.m * s.n;
    const auto some = [=](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) {
            Out part = out;
            part.c += i * size;
            multiply(s, a + i * stride_a, b + i * stride_b, part);
        }
    };
    if (work >= 2 * part_work) some(0, batch);  // each product is cut into parts
    else parallel_for(batch, part_work / (work + 1) + 1, some);
}

// c(batch, m, n) = activation(op(a) op(b) + bias). op(a) is a(m, k), or a(k, m) transposed; op(b) is b(k, n), or
// b(n, k) transposed; bias(n) or null. stride_a, stride_b: elements between the matrices of a batch, 0 for one
// shared matrix. k = 0 gives activation(bias). c overlaps no operand.
template <class T>
void matmul(In<T> a, In<T> b, OptIn<T> bias, Out<T> c, dim batch, dim m, dim n, dim k, dim trans_a, dim trans_b,
            dim stride_a, dim stride_b, dim activation) {
    auto out = result_of<T>(c, n, bias, false, activation);
    if constexpr (!is_narrow<T>)
        if (batch == 1) out.tail = tail_of_product<T>(m, n, k);
    multiply_batch<T>({m, n, k, trans_a != 0, trans_b != 0}, a, b, batch, stride_a, stride_b, out);
}

// c(batch, m, n) += op(a) op(b), as above.
template <class T>
void matmul_accumulate(In<T> a, In<T> b, InOut<T> c, dim batch, dim m, dim n, dim k, dim trans_a, dim trans_b,
                       dim stride_a, dim stride_b) {
    multiply_batch<T>({m, n, k, trans_a != 0, trans_b != 0}, a, b, batch, stride_a, stride_b,
                      result_of<T>(c, n, nullptr, true, act_linear));
}

// --------------------------------------------------------------------------------- dense gradient

// dy act'(x), from y = act(x).
template <class T, dim Activation>
PYDL_INLINE vec<T> times_derivative(vec<T> y, vec<T> dy) {
    if constexpr (Activation == act_relu) return times_relu_slope(y, dy);
    if constexpr (Activation == act_sigmoid) return dy * sigmoid_slope(y);
    if constexpr (Activation == act_tanh) return dy * tanh_slope(y);
    return dy;
}

// Rows i0..i1 of dz, and their sums over rows in db. Sums run over 64 rows, then over those sums: errors grow with the
// square root of what one long chain would give.
template <class T, dim Activation>
void dense_dz_rows(const T* y, const T* dy, T* dz, T* db, dim n, dim i0, dim i1, dim j0, dim j1) {
    constexpr dim L = lanes<T>, block = 64;
    for (dim j = j0; j < j1; j += L) {
        const dim left = j1 - j;
        vec<T> total = {};
        for (dim i = i0; i < i1; i += block) {
            vec<T> sum = {};
            for (dim r = i; r < least(i1, i + block); ++r) {
                const dim at = r * n + j;
                vec<T> z = load_upto(dy + at, left);
                if constexpr (Activation != act_linear) z = times_derivative<T, Activation>(load_upto(y + at, left), z);
                if (dz) store_upto(dz + at, z, left);
                sum = sum + z;
            }
            total = total + sum;
        }
        if (db) store_upto(db + j, total, left);
    }
}

// The same for fewer columns than lanes: registers run over the rows as they lie, and after `period` of them the
// columns meet the same lanes again.
template <class T, dim Activation>
void dense_dz_narrow(const T* y, const T* dy, T* dz, T* db, dim n, dim i0, dim i1) {
    constexpr dim L = lanes<T>, block = 64;
    dim period = 1;
    while (period * L % n != 0) ++period;
    vec<T> total[L] = {};
    const dim end = i1 * n;
    for (dim at = i0 * n; at < end;) {
        vec<T> sum[L] = {};
        for (dim r = 0; r < block && at < end; ++r)
            for (dim v = 0; v < period && at < end; ++v, at += L) {
                vec<T> z = load_upto(dy + at, end - at);
                if constexpr (Activation != act_linear)
                    z = times_derivative<T, Activation>(load_upto(y + at, end - at), z);
                if (dz) store_upto(dz + at, z, end - at);
                sum[v] = sum[v] + z;
            }
        for (dim v = 0; v < period; ++v) total[v] = total[v] + sum[v];
    }
    if (!db) return;
    T lane[L * L];
    for (dim v = 0; v < period; ++v) store(lane + v * L, total[v]);
    for (dim j = 0; j < n; ++j) {
        T sum = 0;
        for (dim at = j; at < period * L; at += n) sum += lane[at];
        db[j] = sum;
    }
}

// Wide matrices are cut by columns; tall ones by rows, into parts with sums of their own.
template <class T, dim Activation>
void dense_dz_as(const T* y, const T* dy, T* dz, T* db, dim m, dim n) {
    constexpr dim L = lanes<T>, work = 32768;
    const dim grain = ceil_div(work / (m + 1) + 1, 8 * L) * 8 * L;
    if (n >= 2 * grain || m * n < 2 * work)
        return parallel_for(n, grain, [=](dim j0, dim j1) {
            if (n < L) dense_dz_narrow<T, Activation>(y, dy, dz, db, n, 0, m);
            else dense_dz_rows<T, Activation>(y, dy, dz, db, n, 0, m, j0, j1);
        });
    const dim rows = ceil_div(m, least(most_parts, m * n / work)), parts = ceil_div(m, rows);
    T* sums = scratch<T>(Slot::partial_sums, parts * n);
    parallel_for(parts, 1, [=](dim begin, dim end) {
        for (dim p = begin; p < end; ++p) {
            T* sum = db ? sums + p * n : nullptr;
            const dim i0 = p * rows, i1 = least(m, i0 + rows);
            if (n < L) dense_dz_narrow<T, Activation>(y, dy, dz, sum, n, i0, i1);
            else dense_dz_rows<T, Activation>(y, dy, dz, sum, n, i0, i1, 0, n);
        }
    });
    for (dim j = 0; db && j < n; j += L) {
        vec<T> total = {};
        for (dim p = 0; p < parts; ++p) total = total + load_upto(sums + p * n + j, n - j);
        store_upto(db + j, total, n - j);
    }
}

// Gradient of y = activation(x W + bias) up to the products: dz(m, n) = dy activation'(...), db(n) = its column
// sums. y may be null when linear; dz, db may be null when not wanted. dz may be dy.
template <class T>
void dense_dz(OptIn<T> y, In<T> dy, OptOut<T> dz, OptOut<T> db, dim m, dim n, dim activation) {
    (activation == act_relu      ? dense_dz_as<T, act_relu>
     : activation == act_sigmoid ? dense_dz_as<T, act_sigmoid>
     : activation == act_tanh    ? dense_dz_as<T, act_tanh>
                                 : dense_dz_as<T, act_linear>)(y, dy, dz, db, m, n);
}

// -------------------------------------------------------------------------------- products of integers

// c (batch, m, n) = a (batch, m, k) b (batch, k, n), modulo 2^bits. Each row of c in strips that stay in registers: int32
// is bound by its multiplications, and nothing here is asked for speed.
template <class T>
void matmul_wrapping(In<T> a, In<T> b, Out<T> c, dim batch, dim m, dim n, dim k, dim stride_a, dim stride_b) {
    constexpr dim L = lanes<T>, width = 4;
    parallel_for(batch * m, 1 + (1 << 14) / (n * k + 1), [=](dim begin, dim end) {
        for (dim row = begin; row < end; ++row) {
            const T* x = a.ptr + row / m * stride_a + row % m * k;
            const T* y = b.ptr + row / m * stride_b;
            T* z = c.ptr + row * n;
            for (dim j = 0; j < n; j += width * L) {
                vec<wrapping<T>> sum[width] = {};
                for (dim p = 0; p < k; ++p) {
                    const auto factor = wrap(splat(x[p]));
                    for (dim v = 0; v < width && j + v * L < n; ++v)
                        sum[v] += factor * wrap(load_upto(y + p * n + j + v * L, n - j - v * L));
                }
                for (dim v = 0; v < width && j + v * L < n; ++v)
                    store_upto(z + j + v * L, bits_as<T>(sum[v]), n - j - v * L);
            }
        }
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
