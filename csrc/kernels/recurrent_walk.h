// What all recurrent cells share: packed weights, the walk over time forwards and backwards, masks, and the products
// over all steps at once. Threads split the batch; each walks all steps of its rows without waiting for another.
#pragma once
#include "kernels/matmul.h"

namespace pydl::PYDL_ISA {
namespace {

// Scratch beside gemm.h's 0 and 1. Weights belong to the thread that calls the kernel, rows to each thread.
enum : int { slot_panels = 2, slot_rows = 3 };

// ----------------------------------------------------------------------------------------- weights

// B (k, n) in panels of Blocking::width columns, one after the other.
template <class T>
struct Panels {
    T* at;
    dim k, n;

    PYDL_INLINE static constexpr dim size(dim k, dim n) {
        return ceil_div(n, Blocking<T>::width) * Blocking<T>::width * k;
    }
    template <class Operand>
    PYDL_INLINE void fill(const Operand& b) const {
        constexpr dim width = Blocking<T>::width;
        parallel_for(ceil_div(n, width), 131072 / (k * width + 1) + 1, [=, this](dim begin, dim end) {
            for (dim p = begin; p < end; ++p) b.pack(p * width, least(width, n - p * width), 0, k, at + p * width * k);
        });
    }
};

// c(m, n) = a(m, k) B. Rows of c have room for whole registers.
template <class T>
void times_panels(dim m, const T* a, dim as, const Panels<T>& b, T* c, dim cs) {
    constexpr dim width = Blocking<T>::width, L = lanes<T>;
    const dim rows = even_part(m, Blocking<T>::rows), depth = even_part(b.k, Blocking<T>::depth);
    for (dim k0 = 0; k0 < b.k; k0 += depth) {
        for (dim j = 0; j < b.n; j += width) {
            const dim vectors = ceil_div(least(width, b.n - j), L);
            for (dim i = 0; i < m; i += rows) {
                T* to = c + i * cs + j;
                const dim height = least(rows, m - i);
                const Ends<T> ends{k0 ? to : nullptr, cs, minus_infinity<T>};
                tiles<T, false>.of[height - 1][vectors - 1][0](least(depth, b.k - k0), a + i * as + k0, as,
                                                               b.at + j * b.k + k0 * width, width, to, cs, ends, 0,
                                                               one_run);
            }
        }
    }
}

// -------------------------------------------------------------------------------------------- rows

template <class T>
PYDL_INLINE void copy_row(T* to, const T* from, dim n) {
    for (dim j = 0; j < n; j += lanes<T>) store_upto(to + j, load_upto(from + j, n - j), n - j);
}
template <class T>
PYDL_INLINE void zero_row(T* to, dim n) {
    for (dim j = 0; j < n; j += lanes<T>) store_upto(to + j, vec<T>{}, n - j);
}
template <class T>
PYDL_INLINE void add_row(T* to, const T* from, dim n) {
    for (dim j = 0; j < n; j += lanes<T>)
        store_upto(to + j, load_upto(to + j, n - j) + load_upto(from + j, n - j), n - j);
}
// to = a b, or a where b is null.
template <class T>
PYDL_INLINE void scaled_row(T* to, const T* a, const T* b, dim n) {
    for (dim j = 0; j < n; j += lanes<T>) {
        const vec<T> v = load_upto(a + j, n - j);
        store_upto(to + j, b ? v * load_upto(b + j, n - j) : v, n - j);
    }
}

// ------------------------------------------------------------------------------------------- walks

// The order of steps: step s of the walk is at time(s) of the inputs. mask (batch, steps): 0 where a row rests.
struct Walk {
    dim batch, steps, units;
    bool backwards;
    const std::uint8_t* mask;

    PYDL_INLINE dim time(dim s) const { return backwards ? steps - 1 - s : s; }
    PYDL_INLINE bool real(dim b, dim s) const { return !mask || mask[b * steps + time(s)]; }
    // The step with which row b begins to have an output.
    PYDL_INLINE dim first(dim b) const {
        dim s = 0;
        while (s < steps && !real(b, s)) ++s;
        return s;
    }
    // Rows of a task: few enough that two threads share a batch of 32, many enough that weights which do not stay
    // in L2 are read for several tiles.
    template <class T>
    PYDL_INLINE dim chunk(dim weights) const {
        return even_part(batch, weights * static_cast<dim>(sizeof(T)) > dim{1} << 19 ? 32 : 16);
    }
};

// A chunk of rows on its way: `count` of them take a step, numbered from the chunk's first.
template <class T>
struct Step {
    dim begin, s, count;
    const dim *active, *first;  // first: of each row, backwards
    dim stride;                 // of h, a
    T* h;                       // state by row: h forwards, its gradient backwards
    T* a;                       // forwards: what is multiplied with the recurrent weights, by number of the active row
    T* wide;                    // room for (chunk, wide_stride)
    dim wide_stride;
    T* more;  // cell::more rows of `stride` for each row
};

// Walks forwards. Cell: `columns` wide room, `more`, rest(b, s), step(Step). drop (batch, units) scales what is
// multiplied with the weights. The sequence repeats the last output at a masked step; zeros before the first.
template <class T, class Cell>
void walk_forward(const Walk& w, const T* h0, const T* drop, T* sequence, T* last, const Cell& cell) {
    const dim units = w.units, stride = odd_lines<T>(units + lanes<T>), wide = odd_lines<T>(cell.columns + lanes<T>);
    parallel_for(w.batch, w.chunk<T>(units * cell.columns), [=, &w, &cell](dim begin, dim end) {
        const dim rows = end - begin;
        const dim numbers = rows * ((2 + Cell::more) * stride + wide);
        T* h = static_cast<T*>(scratch(slot_rows, numbers * sizeof(T) + 2 * rows * sizeof(dim)));
        dim *active = reinterpret_cast<dim*>(h + numbers), *started = active + rows;
        Step<T> step{begin, 0, 0, active, nullptr, stride, h, h, h + 2 * rows * stride, wide, nullptr};
        step.more = step.wide + rows * wide;
        for (dim r = 0; r < rows; ++r) {
            copy_row(h + r * stride, h0 + (begin + r) * units, units);
            started[r] = 0;
        }
        for (dim s = 0; s < w.steps; ++s) {
            step.s = s;
            step.count = 0;
            for (dim r = 0; r < rows; ++r) {
                const dim b = begin + r;
                if (w.real(b, s)) {
                    active[step.count++] = r;
                    started[r] = 1;
                    continue;
                }
                T* y = sequence + (b * w.steps + s) * units;
                started[r] ? copy_row(y, h + r * stride, units) : zero_row(y, units);
                cell.rest(b, s);
            }
            if (step.count == 0) continue;
            step.a = h;
            if (drop || step.count < rows) {
                step.a = h + rows * stride;
                for (dim q = 0; q < step.count; ++q) {
                    const dim r = active[q];
                    scaled_row(step.a + q * stride, h + r * stride, drop ? drop + (begin + r) * units : nullptr, units);
                }
            }
            cell.step(step);
        }
        for (dim r = 0; r < rows; ++r) copy_row(last + (begin + r) * units, h + r * stride, units);
    });
}

// Walks from the last step to the first; h of the Step is dh. dsequence and dlast may be null. previous (batch, steps,
// units), in the order of the inputs: the state each step began with, times drop.
template <class T, class Cell>
void walk_backward(const Walk& w, const T* h0, const T* drop, const T* sequence, const T* dsequence, const T* dlast,
                   T* previous, T* dh0, const Cell& cell) {
    const dim units = w.units, stride = odd_lines<T>(units + lanes<T>), wide = odd_lines<T>(cell.columns + lanes<T>);
    parallel_for(w.batch, w.chunk<T>(units * cell.columns), [=, &w, &cell](dim begin, dim end) {
        const dim rows = end - begin;
        const dim numbers = rows * ((2 + Cell::more) * stride + wide);
        T* dh = static_cast<T*>(scratch(slot_rows, numbers * sizeof(T) + 2 * rows * sizeof(dim)));
        dim *active = reinterpret_cast<dim*>(dh + numbers), *first = active + rows;
        Step<T> step{begin, 0, 0, active, first, stride, dh, dh + rows * stride, dh + 2 * rows * stride, wide, nullptr};
        step.more = step.wide + rows * wide;
        for (dim r = 0; r < rows; ++r) {
            dlast ? copy_row(dh + r * stride, dlast + (begin + r) * units, units) : zero_row(dh + r * stride, units);
            first[r] = w.first(begin + r);
            cell.begin(begin + r, step.more + r * stride);
        }
        for (dim s = w.steps - 1; s >= 0; --s) {
            step.s = s;
            step.count = 0;
            for (dim r = 0; r < rows; ++r) {
                const dim b = begin + r, at = (b * w.steps + s) * units;
                T* before = previous + (b * w.steps + w.time(s)) * units;
                if (dsequence && s >= first[r]) add_row(dh + r * stride, dsequence + at, units);
                if (w.real(b, s)) {
                    active[step.count++] = r;
                    scaled_row(before, s > first[r] ? sequence + at - units : h0 + b * units,
                               drop ? drop + b * units : nullptr, units);
                } else {
                    zero_row(before, units);
                    cell.rest(b, s);
                }
            }
            if (step.count) cell.step(step);
        }
        for (dim r = 0; r < rows; ++r) {
            copy_row(dh0 + (begin + r) * units, dh + r * stride, units);
            cell.end(begin + r, step.more + r * stride);
        }
    });
}

// ------------------------------------------------------------------------- products over all steps

// Parts of a (batch, steps, ...) tensor, as rows of (batch * steps, ...), between the first and the last real step of
// each row of the batch; all of it without a mask. f(row, count), for rows b0..b1 of the batch.
template <class F>
PYDL_INLINE void for_each_span(const std::uint8_t* mask, dim b0, dim b1, dim steps, F f) {
    if (!mask) return f(b0 * steps, (b1 - b0) * steps);
    for (dim b = b0; b < b1; ++b) {
        const std::uint8_t* m = mask + b * steps;
        dim first = 0, end = steps;
        while (end > 0 && !m[end - 1]) --end;
        while (first < end && !m[first]) ++first;
        if (first < end) f(b * steps + first, end - first);
    }
}

// c(batch * steps, n) = a(batch * steps, k) op(b) + bias, op(b) = b(k, n) or b(n, k) transposed. Outside the spans c is
// zero with `clear`, untouched else.
template <class T>
void multiply_spans(const T* a, const T* b, const T* bias, T* c, const std::uint8_t* mask, dim batch, dim steps, dim n,
                    dim k, bool transposed, bool clear) {
    const Result<T> out{c, n, bias, false, minus_infinity<T>, nullptr};
    if (!mask) return multiply<T>({batch * steps, n, k, false, transposed}, a, b, out);
    T* at = static_cast<T*>(scratch(slot_panels, Panels<T>::size(k, n) * sizeof(T)));
    const Panels<T> panels{at, k, n};
    transposed ? panels.fill(ColumnsOfB<T>{b, k}) : panels.fill(RowsOfB<T>{b, n, true});
    constexpr dim width = Blocking<T>::width, L = lanes<T>;
    parallel_for(batch, part_work / (2 * steps * n * k + 1) + 1, [=](dim b0, dim b1) {
        if (clear) zero_row(c + b0 * steps * n, (b1 - b0) * steps * n);
        for_each_span(mask, b0, b1, steps, [=](dim row, dim count) {
            const dim rows = even_part(count, Blocking<T>::rows), depth = even_part(k, Blocking<T>::depth);
            for (dim k0 = 0; k0 < k; k0 += depth)
                for (dim j = 0; j < n; j += width)
                    for (dim i = 0; i < count; i += rows) {
                        T* to = c + (row + i) * n + j;
                        const dim left = least(width, n - j), height = least(rows, count - i);
                        const Ends<T> ends{k0 ? to : bias ? bias + j : nullptr, k0 ? n : 0, minus_infinity<T>};
                        tiles<T, false>.of[height - 1][(left - 1) / L][left % L != 0](
                            least(depth, k - k0), a + (row + i) * k + k0, k, panels.at + j * k + k0 * width, width, to,
                            n, ends, left % L, one_run);
                    }
        });
    });
}

// dw(depth, n) = x(batch * steps, depth)^T dz(batch * steps, n); rows of dz are ldz apart, of dw ldw.
template <class T>
void weights_gradient(const T* x, const T* dz, dim ldz, T* dw, dim ldw, const std::uint8_t* mask, dim batch, dim steps,
                      dim depth, dim n) {
    in_parts<T>(depth, n, batch * steps, [=](dim i0, dim i1, dim j0, dim j1) {
        bool add = false;
        for_each_span(mask, 0, batch, steps, [=, &add](dim row, dim count) {
            const bool copy_x = worth_a_copy(count * depth * sizeof(T), n);
            const bool copy_dz = worth_a_copy(count * n * sizeof(T), depth);
            gemm_part(i0, i1, j0, j1, count, ColumnsOfA<T>{x + row * depth, depth, copy_x},
                      RowsOfB<T>{dz + row * ldz, ldz, copy_dz},
                      Result<T>{dw, ldw, nullptr, add, minus_infinity<T>, nullptr});
            add = true;
        });
        for (dim i = i0; !add && i < i1; ++i) zero_row(dw + i * ldw + j0, j1 - j0);
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
