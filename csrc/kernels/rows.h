// What the kernels over groups of values share (reduce, softmax, loss). An array is seen as (outer, n, inner):
// n values belong together and lie `inner` apart. Three layouts, three loops:
//   columns  inner > 1: the lanes of a register are neighbouring columns; nothing crosses lanes.
//   runs     inner = 1, n > short_row: the lanes are neighbours of one row; one fold across lanes at its end.
//   squares  inner = 1, n <= short_row: lanes<T> rows are transposed into a buffer in L1 and are columns there.
//            (10 classes fill 10 of 16 lanes as a run; transposed, every lane works: softmax 3x faster.)
#pragma once
#include "base/parallel.h"
#include "base/types.h"
#include "kernels/apart.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace pydl::PYDL_ISA {
namespace {

constexpr dim short_row = 32;
// Elements worth a task of their own: about 10 us of streaming, or of exponentials.
constexpr dim stream_task = 65536, exp_task = 16384;
// A run longer than this is summed in blocks whose results are added in a wider type, so that the rounding
// error of a float sum does not grow with its length.
constexpr dim run_block = 4096;

template <class A>
PYDL_INLINE constexpr A least(A a, A b) {
    return a < b ? a : b;
}
template <class A>
PYDL_INLINE constexpr A most(A a, A b) {
    return a > b ? a : b;
}
PYDL_INLINE constexpr dim ceil_div(dim a, dim b) { return (a + b - 1) / b; }

// Room for lanes<T> transposed short rows, whole tiles.
template <class T>
struct Square {
    static constexpr dim rows = most(short_row, lanes<T>);
    alignas(PYDL_VECTOR_BYTES) T at[static_cast<std::size_t>(rows * lanes<T>)];
};

// Where p comes from: the next rows are found from here, by one register instead of one each.
template <class P>
PYDL_INLINE void hide(P*& p) {
    asm("" : "+r"(p));
}

// x (rows, n) -> s (n, lanes): row r becomes lane r; lanes without a row are zero. `readable` elements of
// memory follow x; where a tile would read past them, elements move one by one.
template <class X, class T>
[[gnu::noinline]] void gather_rows(const X* x, dim n, dim rows, dim readable, Square<T>& s) {
    constexpr dim L = lanes<T>;
    if (rows == L && (L - 1) * n + ceil_div(n, L) * L <= readable) {
        for (dim c = 0; c < n; c += L) {
            vec<T> v[L];
            const X* row = x + c;
            PYDL_UNROLL for (dim r = 0; r < L; ++r, row += n) {
                if (r % 4 == 0) hide(row);
                v[r] = load(row);
            }
            transpose<T>(v);
            // All of them, needed or not: a count known only at run time would send v through memory.
            PYDL_UNROLL for (dim k = 0; k < L; ++k) store(s.at + (c + k) * L, v[k]);
        }
        return;
    }
    for (dim k = 0; k < n; ++k) {
        for (dim r = 0; r < rows; ++r) s.at[k * L + r] = value_of(x[r * n + k]);
        for (dim r = rows; r < L; ++r) s.at[k * L + r] = 0;
    }
}

// s (n, lanes) -> y (rows, n). The last tile goes first and its registers spill into the next rows, which are
// written later; partial stores only where the spill would leave the group.
template <class T>
[[gnu::noinline]] void scatter_rows(const Square<T>& s, dim n, dim rows, T* y) {
    constexpr dim L = lanes<T>;
    if (rows < L) {
        for (dim r = 0; r < rows; ++r)
            for (dim k = 0; k < n; ++k) y[r * n + k] = s.at[k * L + r];
        return;
    }
    for (dim c = (n - 1) / L * L; c >= 0; c -= L) {
        vec<T> v[L];
        PYDL_UNROLL for (dim k = 0; k < L; ++k) v[k] = load(s.at + least(c + k, n - 1) * L);
        transpose<T>(v);
        T* row = y + c;
        PYDL_UNROLL for (dim r = 0; r < L; ++r, row += n) {
            if (r % 4 == 0) hide(row);
            store_upto(row, v[r], r * n + c + L <= L * n ? L : n - c);
        }
    }
}

// f(first row, rows) over groups of lanes<T> rows of at most short_row values, in parallel.
template <class T, class F>
void for_squares(dim outer, dim n, dim task, const F& f) {
    constexpr dim L = lanes<T>;
    parallel_for(ceil_div(outer, L), most(task / (n * L), dim{1}), [&](dim begin, dim end) {
        for (dim g = begin; g < end; ++g) f(g * L, least(L, outer - g * L));
    });
}

// What a loop over registers is given as a function, and how often its text may stand in the loop's.
enum class Text : bool { brief, lengthy };

// The n values of a register of groups, one group per lane, `stride` apart: f(offset, live lanes). Of float a loop of
// whole registers and one of parts; of double one for both, which the compiler has done with sooner.
template <class T>
struct Column {
    dim n, stride, live;
    template <class F>
    PYDL_INLINE void each(const F& f) const {
        if (sizeof(T) == 4 && live == lanes<T>)
            for (dim k = 0; k < n; ++k) f(k * stride, lanes<T>);
        else
            for (dim k = 0; k < n; ++k) f(k * stride, live);
    }
    // The sum over blocks of the vector f(offset, block): rounding errors grow with the block's length only.
    template <class F>
    PYDL_INLINE vec<T> sum(const F& f) const {
        vec<T> total = {};
        for (dim k = 0; k < n; k += 256) total += f(k * stride, Column{least(n - k, dim{256}), stride, live});
        return total;
    }
};

// The n values of one group in a row, a register at a time: f(offset, live lanes). One loop or two, as above.
template <class T>
struct Run {
    dim n;
    template <class F>
    PYDL_INLINE void each(const F& f) const {
        dim k = 0;
        if constexpr (sizeof(T) == 4)
            for (; k + lanes<T> <= n; k += lanes<T>) f(k, lanes<T>);
        for (; k < n; k += lanes<T>) f(k, least(n - k, lanes<T>));
    }
    // The sum of the vector f(offset, live lanes): four registers of partial sums, blocks of them added in double. They
    // take turns; where f is lengthy, by changing places, so that it stands here twice instead of five times.
    template <Text text = Text::brief, class F>
    PYDL_INLINE double sum(const F& f) const {
        constexpr dim L = lanes<T>;
        double total = 0;
        for (dim begin = 0; begin < n; begin += run_block) {
            const dim end = least(begin + run_block, n), fours = begin + (end - begin) / (4 * L) * (4 * L);
            vec<T> a0 = {}, a1 = {}, a2 = {}, a3 = {};
            dim k = begin;
            if constexpr (text == Text::lengthy) {
                for (; k < fours; k += L) {
                    const vec<T> next = a0 + f(k, L);
                    a0 = a1;
                    a1 = a2;
                    a2 = a3;
                    a3 = next;
                }
            } else {
                for (; k < fours; k += 4 * L) {
                    a0 += f(k, L);
                    a1 += f(k + L, L);
                    a2 += f(k + 2 * L, L);
                    a3 += f(k + 3 * L, L);
                }
            }
            for (; k < end; k += L) {
                const vec<T> v = f(k, least(end - k, L));
                if (end - k >= L) a0 += v;
                else a1 += select(first_lanes<T>(end - k), v, vec<T>{});
            }
            total += static_cast<double>(horizontal_sum((a0 + a1) + (a2 + a3)));
        }
        return total;
    }
};

template <class T>
PYDL_INLINE vec<T> load_or(const T* p, dim live, T fill) {
    return live >= lanes<T> ? load(p) : select(first_lanes<T>(live), load_partial(p, live), splat(fill));
}

// Long runs, few of them: pieces of a run are the tasks, at most max_pieces of them.
constexpr dim max_pieces = 128;
PYDL_INLINE dim piece_of(dim n, dim task) {
    return most(task, ceil_div(ceil_div(n, max_pieces), run_block) * run_block);
}

// join of f(begin, end) over the pieces of a run; the run is one piece where `whole`. f captures by value.
template <class R, class F, class Join>
PYDL_INLINE R over_run(dim n, bool whole, const F& f, const Join& join) {
    const Apart part{f};
    if (whole) return part(dim{0}, n);
    const dim piece = piece_of(n, exp_task), pieces = ceil_div(n, piece);
    R results[max_pieces];
    results[0] = R{};
    parallel_for(pieces, 1, [&](dim begin, dim end) {
        for (dim p = begin; p < end; ++p) results[p] = part(p * piece, least((p + 1) * piece, n));
    });
    R r = results[0];
    for (dim p = 1; p < pieces; ++p) r = join(r, results[p]);
    return r;
}

// Hands the groups of `inputs` (outer, n, inner) each to op, in the layout's way:
//   op.column(Column, inputs, y, first group, groups)   pointers at the first value of the first group
//   op.run(n, inputs, y, group, whole)
// y (outer, n, inner) may be null where op keeps its results elsewhere.
template <int count, class T, class Op>
void by_group(const T* const (&inputs)[count], T* y, dim outer, dim n, dim inner, const Op& op) {
    constexpr dim L = lanes<T>;
    if (outer * n * inner == 0) return;
    if (n == 1) {
        inner *= outer;
        outer = 1;
    }
    // Inlined into both loops over columns, the constants of a formula are loaded once for all of them (of float; two
    // copies of the formula).
    const auto column =
        apart_unless_float<T>([=](Column<T> w, const T* const* in, T* to, dim group, dim groups)
                                  __attribute__((always_inline)) { op.column(w, in, to, group, groups); });
    if (inner == 1 && n <= short_row) {
        for_squares<T>(outer, n, exp_task, [&](dim o, dim rows) {
            Square<T> squares[count + 1];
            const T* at[count];
            for (int i = 0; i < count; ++i) {
                gather_rows(inputs[i] + o * n, n, rows, (outer - o) * n, squares[i]);
                at[i] = squares[i].at;
            }
            column(Column<T>{n, lanes<T>, lanes<T>}, at, squares[count].at, o, rows);
            if (y) scatter_rows(squares[count], n, rows, y + o * n);
        });
    } else if (inner == 1) {
        const bool whole = outer >= 8 || n <= 2 * exp_task;
        const auto one = [&](dim o) {
            const T* at[count];
            for (int i = 0; i < count; ++i) at[i] = inputs[i] + o * n;
            op.run(n, at, y ? y + o * n : nullptr, o, whole);
        };
        if (whole)
            parallel_for(outer, most(exp_task / n, dim{1}), [&](dim begin, dim end) {
                for (dim o = begin; o < end; ++o) one(o);
            });
        else
            for (dim o = 0; o < outer; ++o) one(o);
    } else {
        const dim strips = ceil_div(inner, L);
        parallel_for(outer * strips, most(exp_task / (n * least(inner, L)), dim{1}), [&](dim begin, dim end) {
            for (dim p = begin; p < end; ++p) {
                const dim o = p / strips, j = p % strips * L, live = least(L, inner - j);
                const T* at[count];
                for (int i = 0; i < count; ++i) at[i] = inputs[i] + o * n * inner + j;
                column(Column<T>{n, inner, live}, at, y ? y + o * n * inner + j : nullptr, o * inner + j, live);
            }
        });
    }
}

// One register's worth of an array x (outer, n, inner) beside the (outer, inner) values that go with it.
template <class T, bool one_group>
struct Place {
    dim at, live;     // of (outer, n, inner)
    dim group, left;  // of (outer, inner)
    dim k;            // of n, in the first lane
    PYDL_INLINE vec<T> of(const T* x) const { return load_upto(x + at, live); }
    PYDL_INLINE vec<T> of_group(const T* g) const {
        if constexpr (one_group) return splat(g[group]);
        else return load_upto(g + group, left);
    }
    // Where the value is number label[group] of its n.
    PYDL_INLINE mask<T> is(const std::int32_t* label) const {
        using I = int_of<T>;
        if constexpr (one_group) return iota<I>() == splat(static_cast<I>(label[group] - k));
        if constexpr (sizeof(T) == 4) return load_upto(label + group, left) == splat(static_cast<I>(k));
        vec<I> hit = {};
        PYDL_UNROLL for (dim i = 0; i < lanes<T>; ++i) hit[i] = i < left && label[group + i] == k ? -1 : 0;
        return hit;
    }
};

// y[o, k, i] = f(place of it), where f may read whatever lies there and what belongs to group (o, i).
// Within a task a register is stored whole even where a line of memory ends inside it: the next line, written
// later, mends the spill. So y must not overlap what f reads.
template <class T, class F>
void spread(dim outer, dim n, dim inner, T* y, dim task, const F& f) {
    constexpr dim L = lanes<T>;
    if (n == 1) {
        inner *= outer;
        outer = 1;
    }
    if (inner == 1) {
        const dim piece = least(n, task), pieces = ceil_div(n, most(piece, dim{1}));
        parallel_for(outer * pieces, most(task / most(piece, dim{1}), dim{1}), [&](dim begin, dim end) {
            const dim stop = (end - 1) / pieces * n + least(((end - 1) % pieces + 1) * piece, n);
            for (dim p = begin; p < end; ++p) {
                const dim o = p / pieces, last = least((p % pieces + 1) * piece, n);
                for (dim k = p % pieces * piece; k < last; k += L) {
                    const dim at = o * n + k, live = at + L <= stop ? L : last - k;
                    store_upto(y + at, f(Place<T, true>{at, live, o, 1, k}), live);
                }
            }
        });
        return;
    }
    // A single line (n = 1) may be as long as the array: cut it; several lines of it go together otherwise.
    const dim piece = least(inner, task), pieces = ceil_div(inner, most(piece, dim{1}));
    parallel_for(outer * n * pieces, most(task / most(piece, dim{1}), dim{1}), [&](dim begin, dim end) {
        const dim stop = (end - 1) / pieces * inner + least(((end - 1) % pieces + 1) * piece, inner);
        for (dim p = begin; p < end; ++p) {
            const dim line = p / pieces, o = line / n, last = least((p % pieces + 1) * piece, inner);
            for (dim i = p % pieces * piece; i < last; i += L) {
                const dim at = line * inner + i, live = at + L <= stop ? L : last - i;
                store_upto(y + at, f(Place<T, false>{at, live, o * inner + i, last - i, line % n}), live);
            }
        }
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
