// What all recurrent cells share: packed weights, the walk over time forwards and backwards, masks, and the products
// over all steps at once. Threads split the batch; each walks all steps of its rows without waiting for another.
#pragma once
#include "kernels/matmul.h"

namespace pydl::PYDL_ISA {
namespace {

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

// c(m, n) = a(m, k) B, 0 for k = 0. Rows of c have room for whole registers.
template <class T>
void times_panels(dim m, const T* a, dim as, const Panels<T>& b, T* c, dim cs) {
    constexpr dim width = Blocking<T>::width, L = lanes<T>;
    const dim rows = even_part(m, Blocking<T>::rows), depth = even_part(b.k, Blocking<T>::depth);
    dim k0 = 0;
    do {
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
    } while ((k0 += depth) < b.k);
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
        T* h = static_cast<T*>(scratch_bytes(Slot::recurrent_rows, numbers * sizeof(T) + 2 * rows * sizeof(dim)));
        dim *active = reinterpret_cast<dim*>(h + numbers), *started = active + rows;
        Step<T> step{begin, 0, 0, active, nullptr, stride, h, h, h + 2 * rows * stride, wide, nullptr};
        step.more = step.wide + rows * wide;
        for (dim r = 0; r < rows; ++r) {
            copy_row(h + r * stride, h0 + (begin + r) * units, units);
            started[r] = 0;
        }
        Poll poll;
        for (dim s = 0; s < w.steps; ++s) {
            if (poll(rows * units * cell.columns)) return;
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
// units), in the order of the inputs, or null: the state each step began with, times drop.
template <class T, class Cell>
void walk_backward(const Walk& w, const T* h0, const T* drop, const T* sequence, const T* dsequence, const T* dlast,
                   T* previous, T* dh0, const Cell& cell) {
    const dim units = w.units, stride = odd_lines<T>(units + lanes<T>), wide = odd_lines<T>(cell.columns + lanes<T>);
    parallel_for(w.batch, w.chunk<T>(units * cell.columns), [=, &w, &cell](dim begin, dim end) {
        const dim rows = end - begin;
        const dim numbers = rows * ((2 + Cell::more) * stride + wide);
        T* dh = static_cast<T*>(scratch_bytes(Slot::recurrent_rows, numbers * sizeof(T) + 2 * rows * sizeof(dim)));
        dim *active = reinterpret_cast<dim*>(dh + numbers), *first = active + rows;
        Step<T> step{begin, 0, 0, active, first, stride, dh, dh + rows * stride, dh + 2 * rows * stride, wide, nullptr};
        step.more = step.wide + rows * wide;
        for (dim r = 0; r < rows; ++r) {
            dlast ? copy_row(dh + r * stride, dlast + (begin + r) * units, units) : zero_row(dh + r * stride, units);
            first[r] = w.first(begin + r);
            cell.begin(begin + r, step.more + r * stride);
        }
        Poll poll;
        for (dim s = w.steps - 1; s >= 0; --s) {
            if (poll(rows * units * cell.columns)) return;
            step.s = s;
            step.count = 0;
            for (dim r = 0; r < rows; ++r) {
                const dim b = begin + r, at = (b * w.steps + s) * units;
                T* before = previous ? previous + (b * w.steps + w.time(s)) * units : nullptr;
                if (dsequence && s >= first[r]) add_row(dh + r * stride, dsequence + at, units);
                if (w.real(b, s)) {
                    active[step.count++] = r;
                    if (before)
                        scaled_row(before, s > first[r] ? sequence + at - units : h0 + b * units,
                                   drop ? drop + b * units : nullptr, units);
                } else {
                    if (before) zero_row(before, units);
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
    T* at = scratch<T>(Slot::span_weights, Panels<T>::size(k, n));
    const Panels<T> panels{at, k, n};
    transposed ? panels.fill(ColumnsOfB<T>{b, k}) : panels.fill(RowsOfB<T>{b, n, true});
    constexpr dim width = Blocking<T>::width, L = lanes<T>;
    parallel_for(batch, part_work / (2 * steps * n * k + 1) + 1, [=](dim b0, dim b1) {
        if (clear) zero_row(c + b0 * steps * n, (b1 - b0) * steps * n);
        for_each_span(mask, b0, b1, steps, [=](dim row, dim count) {
            const dim rows = even_part(count, Blocking<T>::rows), depth = even_part(k, Blocking<T>::depth);
            dim k0 = 0;
            do {  // for k = 0 too: the bias
                for (dim j = 0; j < n; j += width)
                    for (dim i = 0; i < count; i += rows) {
                        T* to = c + (row + i) * n + j;
                        const dim left = least(width, n - j), height = least(rows, count - i);
                        const Ends<T> ends{k0 ? to : bias ? bias + j : nullptr, k0 ? n : 0, minus_infinity<T>};
                        tiles<T, false>.of[height - 1][(left - 1) / L][left % L != 0](
                            least(depth, k - k0), a + (row + i) * k + k0, k, panels.at + j * k + k0 * width, width, to,
                            n, ends, left % L, one_run);
                    }
            } while ((k0 += depth) < k);
        });
    });
}

// A left factor of the products that give weights their gradients: dw(depth, columns) = x^T dz over the real steps. Row
// (b, t) of x is x(b, t, :), or with h0 the state its step began with: x is then the sequence (batch, steps, depth), in
// the order of the walk, scaled by drop where there is one.
template <class T>
struct Factor {
    const T *x, *h0, *drop;
    dim depth;
    T* dw;
    dim ldw, columns;

    PYDL_INLINE const T* row(const Walk& w, dim b, dim t, dim first_step) const {
        if (!h0) return x + (b * w.steps + t) * depth;
        const dim s = w.time(t);
        return s > first_step ? x + (b * w.steps + s - 1) * depth : h0 + b * depth;
    }
};

// Up to Blocking::depth real steps of any rows of the batch, copied side by side: one slice of the products.
template <class T, dim Factors>
struct StepSlice {
    static constexpr dim room = Blocking<T>::depth, width = Blocking<T>::width;
    static constexpr dim height = ceil_div(Blocking<T>::rows, lanes<T>) * lanes<T>;
    dim count = 0;
    const T *dz[room], *x[Factors][room], *drop[Factors][room];

    // Columns j.. of dz in panels; their sums are added to db, which may be null.
    PYDL_INLINE void pack(dim j, dim columns, T* panels, T* db) const {
        constexpr dim L = lanes<T>;
        for (dim q = 0; q < count; ++q) {
            const T* from = dz[q] + j;
            T* to = panels + q * width;
            for (dim c = 0; c < columns; c += width, to += width * count)
                PYDL_UNROLL for (dim v = 0; v < width; v += L) if (c + v < columns)
                    store(to + v, load_upto(from + c + v, columns - c - v));
        }
        for (dim c = 0; db && c < columns; c += L) {
            const T* from = panels + c / width * width * count + c % width;
            vec<T> sum = {};
            for (dim q = 0; q < count; ++q) sum = sum + load(from + q * width);
            store_upto(db + j + c, load_upto(db + j + c, columns - c) + sum, columns - c);
        }
    }
    // Rows i.. of a factor's x^T, k-major.
    PYDL_INLINE void strip(dim factor, dim i, dim rows, T* to) const {
        for (dim r = 0; r < rows; r += lanes<T>) {
            const dim left = rows - r;
            for (dim q = 0; q < count; ++q) {
                const vec<T> v = load_upto(x[factor][q] + i + r, left);
                const T* scale = drop[factor][q];
                store(to + q * height + r, scale ? v * load_upto(scale + i + r, left) : v);
            }
        }
    }
    // dw of all factors (added to with `add`), and db += sums. `packed` has room for `columns` columns, `column` for a strip.
    PYDL_INLINE void multiply(const Factor<T> (&factors)[Factors], dim n, T* db, bool add, dim columns, T* packed,
                              T* column) const {
        constexpr dim L = lanes<T>;
        for (dim j = 0; j < n; j += columns) {
            pack(j, least(columns, n - j), packed, db);
            for (dim f = 0; f < Factors; ++f) {
                const Factor<T>& x = factors[f];
                const dim rows = even_part(x.depth, Blocking<T>::rows);
                for (dim i = 0; i < x.depth; i += rows) {
                    const dim high = least(rows, x.depth - i);
                    strip(f, i, high, column);
                    for (dim c = j, end = least(j + columns, x.columns); c < end; c += width) {
                        T* out = x.dw + i * x.ldw + c;
                        const dim left = least(width, end - c);
                        const Ends<T> ends{add ? out : nullptr, x.ldw, minus_infinity<T>};
                        tiles<T, true>.of[high - 1][(left - 1) / L][left % L != 0](count, column, height,
                                                                                   packed + (c - j) * count, width, out,
                                                                                   x.ldw, ends, left % L, one_run);
                    }
                }
            }
        }
    }
};

// The dw of each factor, and db(n), the sums of dz, which may be null. dz (batch, steps, n): rows ldz apart. Each slice
// of dz and x is read once, for all factors and sums; masked steps at the ends of a row take no place in it. Threads
// share the steps: each part of them has sums of its own, which are added up in their order at the end.
template <class T, dim Factors>
void weights_gradients(const Walk& w, const Factor<T> (&factors)[Factors], const T* dz, dim ldz, dim n, T* db) {
    constexpr dim width = Blocking<T>::width, room = Blocking<T>::depth;
    dim size = n, depth = 0;
    for (dim f = 0; f < Factors; ++f) {
        size += factors[f].depth * factors[f].columns;
        depth += factors[f].depth;
    }
    // A power of two, so that threads get equal shares; each part long enough that its sums cost little.
    // (32 x 100 steps: 8 of 400; 64 x 20: 4 of 320, on two threads 0.6 of the time of one.)
    const dim all = w.batch * w.steps, some = all / (2 * room / 3), many = all / (2 * room);
    const dim most = least(2 * depth * n * all / (4 * part_work), many > 8 ? many : least(dim{8}, some));
    dim parts = 1;
    while (2 * parts <= least(most, most_parts)) parts *= 2;
    const dim share = ceil_div(all, parts);
    parts = share ? ceil_div(all, share) : 1;
    T* sums = parts > 1 ? scratch<T>(Slot::step_sums, (parts - 1) * size) : nullptr;
    parallel_for(parts, 1, [&](dim begin, dim end) {
        const dim columns = even_part(n, Blocking<T>::columns);
        T* packed = scratch<T>(Slot::step_gradients, ceil_div(columns, width) * width * room);
        T* column = scratch<T>(Slot::step_inputs, StepSlice<T, Factors>::height * room);
        for (dim part = begin; part < end; ++part) {
            Factor<T> mine[Factors];
            T* at = part ? sums + (part - 1) * size : nullptr;
            for (dim f = 0; f < Factors; ++f) {
                mine[f] = factors[f];
                if (part == 0) continue;
                mine[f].dw = at;
                mine[f].ldw = mine[f].columns;
                at += mine[f].depth * mine[f].columns;
            }
            T* sum = db && part ? at : db;
            if (sum) zero_row(sum, n);
            StepSlice<T, Factors> slice;
            Poll poll;
            const dim full = even_part(share, room);
            bool add = false;
            const dim from = part * share, to = least(all, from + share);
            for (dim b = all ? from / w.steps : 0; b * w.steps < to; ++b) {
                if (poll(w.steps * depth * n)) return;
                for_each_span(w.mask, b, b + 1, w.steps, [&](dim row, dim count) {
                    const dim t0 = row - b * w.steps, first_step = w.backwards ? w.steps - t0 - count : t0;
                    for (dim r = row > from ? row : from; r < least(to, row + count); ++r) {
                        const dim q = slice.count++;
                        slice.dz[q] = dz + r * ldz;
                        for (dim f = 0; f < Factors; ++f) {
                            slice.x[f][q] = mine[f].row(w, b, r - b * w.steps, first_step);
                            slice.drop[f][q] = mine[f].drop ? mine[f].drop + b * mine[f].depth : nullptr;
                        }
                        if (slice.count < full) continue;
                        slice.multiply(mine, n, sum, add, columns, packed, column);
                        add = true;
                        slice.count = 0;
                    }
                });
            }
            if (slice.count || !add) slice.multiply(mine, n, sum, add, columns, packed, column);
        }
    });
    if (parts == 1) return;
    T* at = sums;
    const auto add_up = [&](T* to, dim rows, dim ld, dim n) {
        parallel_for(rows, 32768 / (n * parts) + 1, [=](dim begin, dim end) {
            for (dim i = begin; i < end; ++i)
                for (dim p = 0; p + 1 < parts; ++p) add_row(to + i * ld, at + p * size + i * n, n);
        });
        at += rows * n;
    };
    for (dim f = 0; f < Factors; ++f) add_up(factors[f].dw, factors[f].depth, factors[f].ldw, factors[f].columns);
    if (db) add_up(db, 1, n, n);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
