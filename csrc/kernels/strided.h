// Moving blocks of elements between two strided N-d layouts: the one routine behind transpose, slice with step,
// broadcast, flip, tile, diagonal and the scatter that undoes them. Strides and offsets count elements.
#pragma once
#include "base/parallel.h"
#include "simd/vec.h"

namespace pydl::PYDL_ISA {
namespace {

constexpr dim kMaxRank = 64;       // NumPy's own limit
constexpr dim kMoveGrain = 32768;  // elements per chunk: 10-20 us of copying

PYDL_INLINE dim ceil_div(dim a, dim b) { return (a + b - 1) / b; }
PYDL_INLINE dim smaller(dim a, dim b) { return a < b ? a : b; }
PYDL_INLINE dim larger(dim a, dim b) { return a > b ? a : b; }

// n elements, not overlapping. Short runs stay inline: a call of memcpy costs as much as copying 200 bytes.
template <class T>
PYDL_INLINE void copy_run(T* y, const T* x, dim n) {
    if constexpr (sizeof(T) >= 4) {
        if (n <= 4 * lanes<T>) {
            for (dim i = 0; i < n; i += lanes<T>) store_upto(y + i, load_upto(x + i, n - i), n - i);
            return;
        }
    }
    __builtin_memcpy(y, x, static_cast<std::size_t>(n) * sizeof(T));
}

template <class T>
PYDL_INLINE void fill_run(T* y, T value, dim n) {
    const vec<T> v = splat(value);
    dim i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) store(y + i, v);
    for (; i < n; ++i) y[i] = value;
}

// y[0 .. n) = x in chunks over the threads.
template <class T>
PYDL_INLINE void copy_all(T* y, const T* x, dim n) {
    parallel_for(n, kMoveGrain, [=](dim begin, dim end) { copy_run(y + begin, x + begin, end - begin); });
}
template <class T>
PYDL_INLINE void zero_all(T* y, dim n) {
    parallel_for(n, kMoveGrain, [=](dim begin, dim end) {
        __builtin_memset(y + begin, 0, static_cast<std::size_t>(end - begin) * sizeof(T));
    });
}

// A shape with the strides of both sides.
struct Layout {
    dim rank = 0;
    dim shape[kMaxRank], xs[kMaxRank], ys[kMaxRank];

    void push(dim n, dim x_stride, dim y_stride) {
        shape[rank] = n;
        xs[rank] = x_stride;
        ys[rank] = y_stride;
        ++rank;
    }
    void remove(dim k) {
        for (dim d = k; d + 1 < rank; ++d) {
            shape[d] = shape[d + 1];
            xs[d] = xs[d + 1];
            ys[d] = ys[d + 1];
        }
        --rank;
    }
    // Without dimensions of 1, and with neighbours merged where both sides step through them as through one.
    void collapse() {
        dim kept = 0;
        for (dim d = 0; d < rank; ++d) {
            if (shape[d] == 1) continue;
            if (kept > 0 && xs[kept - 1] == xs[d] * shape[d] && ys[kept - 1] == ys[d] * shape[d]) {
                shape[kept - 1] *= shape[d];
                xs[kept - 1] = xs[d];
                ys[kept - 1] = ys[d];
                continue;
            }
            shape[kept] = shape[d];
            xs[kept] = xs[d];
            ys[kept] = ys[d];
            ++kept;
        }
        rank = kept;
    }
    dim count() const {
        dim n = 1;
        for (dim d = 0; d < rank; ++d) n *= shape[d];
        return n;
    }
};

// Walks the points of a layout in order, carrying both offsets.
struct Odometer {
    const Layout& layout;
    dim at[kMaxRank];
    dim x = 0, y = 0;

    PYDL_INLINE Odometer(const Layout& l, dim position) : layout(l) {
        for (dim d = l.rank - 1; d >= 0; --d) {
            at[d] = position % l.shape[d];
            position /= l.shape[d];
            x += at[d] * l.xs[d];
            y += at[d] * l.ys[d];
        }
    }
    PYDL_INLINE void next() {
        for (dim d = layout.rank - 1; d >= 0; --d) {
            x += layout.xs[d];
            y += layout.ys[d];
            if (++at[d] < layout.shape[d]) return;
            at[d] = 0;
            x -= layout.shape[d] * layout.xs[d];
            y -= layout.shape[d] * layout.ys[d];
        }
    }
};

// ------------------------------------------------------------------------------------ transposition

// y[i, j] = x[j, i] for i < m, j < n; x has n rows of pitch xp, y has m rows of pitch yp.
template <class T>
PYDL_INLINE void transpose_tile(const T* x, dim xp, T* y, dim yp, dim m, dim n) {
    if constexpr (sizeof(T) >= 4) {
        constexpr dim w = lanes<T>;
        for (dim j = 0; j < n; j += w) {
            const dim columns = smaller(w, n - j);
            for (dim i = 0; i < m; i += w) {
                const dim rows = smaller(w, m - i);
                vec<T> r[w];
                if (rows == w && columns == w) {
                    PYDL_UNROLL for (dim k = 0; k < w; ++k) r[k] = load(x + (j + k) * xp + i);
                    transpose<T>(r);
                    PYDL_UNROLL for (dim k = 0; k < w; ++k) store(y + (i + k) * yp + j, r[k]);
                } else {
                    PYDL_UNROLL for (dim k = 0; k < w; ++k) r[k] =
                        k < columns ? load_partial(x + (j + k) * xp + i, rows) : vec<T>{};
                    transpose<T>(r);
                    PYDL_UNROLL for (dim k = 0; k < w; ++k) if (k < rows)
                        store_partial(y + (i + k) * yp + j, r[k], columns);
                }
            }
        }
    } else {
        for (dim i = 0; i < m; ++i)
            for (dim j = 0; j < n; ++j) y[i * yp + j] = x[j * xp + i];
    }
}

// Planes (m, n) with x contiguous along m and y along n, for every point of `outer`.
template <class T>
PYDL_INLINE void transpose_planes(const T* x, T* y, const Layout& outer, dim m, dim y_pitch, dim n, dim x_pitch) {
    constexpr dim tile = 64;  // 64 x 64 floats: half of a 32 KB cache for both sides
    const dim down = ceil_div(m, tile), across = ceil_div(n, tile), tiles = down * across;
    const dim grain = larger(1, kMoveGrain / (smaller(m, tile) * smaller(n, tile)));
    parallel_for(outer.count() * tiles, grain, [&](dim begin, dim end) {
        Odometer o(outer, begin / tiles);
        dim i = begin % tiles / across, j = begin % across;
        for (dim unit = begin; unit < end; ++unit) {
            transpose_tile(x + o.x + j * tile * x_pitch + i * tile, x_pitch, y + o.y + i * tile * y_pitch + j * tile,
                           y_pitch, smaller(tile, m - i * tile), smaller(tile, n - j * tile));
            if (++j < across) continue;
            j = 0;
            if (++i < down) continue;
            i = 0;
            o.next();
        }
    });
}

// ------------------------------------------------------------------------------------------- moving

// y[i] = x[-i].
template <class T>
PYDL_INLINE void reverse_run(const T* x, T* y, dim n) {
    dim i = 0;
    for (; i + lanes<T> <= n; i += lanes<T>) {
        const vec<T> v = load(x - i - (lanes<T> - 1));
        store(y + i, shuffle(v, v, [](int k) { return static_cast<int>(lanes<T>) - 1 - k; }));
    }
    for (; i < n; ++i) y[i] = x[-i];
}

// y[i] = x[2 i]. Stops a register early: the odd element behind the last even one may not exist.
template <class T>
PYDL_INLINE void every_second(const T* x, T* y, dim n) {
    dim i = 0;
    for (; i + lanes<T> < n; i += lanes<T>)
        store(y + i, shuffle(load(x + 2 * i), load(x + 2 * i + lanes<T>), [](int k) { return 2 * k; }));
    for (; i < n; ++i) y[i] = x[2 * i];
}

template <class T>
PYDL_INLINE void move_run(const T* x, dim xs, T* y, dim ys, dim n) {
    if (xs == 1 && ys == 1) copy_run(y, x, n);
    else if (xs == 0 && ys == 1) fill_run(y, x[0], n);
    else if (xs == -1 && ys == 1) reverse_run(x, y, n);
    else if (xs == 2 && ys == 1) every_second(x, y, n);
    else if (ys == 1)
        for (dim i = 0; i < n; ++i) y[i] = x[i * xs];
    else
        for (dim i = 0; i < n; ++i) y[i * ys] = x[i * xs];
}

// y[i . ys] = x[i . xs] for every index i of the layout.
template <class T>
PYDL_INLINE void move(const T* x, T* y, Layout& l) {
    l.collapse();
    const dim count = l.count();
    if (count == 0) return;
    if (l.rank == 0) {
        y[0] = x[0];
        return;
    }
    const dim last = l.rank - 1, n = l.shape[last], xs = l.xs[last], ys = l.ys[last];
    // A plane whose one side runs along the last dimension and whose other side runs along dimension k.
    const bool gathers = ys == 1 && xs != 1 && xs != 0, scatters = xs == 1 && ys != 1;
    if ((gathers || scatters) && n >= 4) {
        for (dim k = 0; k < last; ++k) {
            const dim m = l.shape[k];
            if ((gathers ? l.xs[k] : l.ys[k]) != 1 || m < 4) continue;
            const dim other = gathers ? l.ys[k] : l.xs[k];
            l.remove(last);
            l.remove(k);
            if (gathers) transpose_planes(x, y, l, m, other, n, xs);
            else transpose_planes(x, y, l, n, ys, m, other);
            return;
        }
    }
    l.remove(last);
    if (n > 2 * kMoveGrain) {  // long runs are cut
        const dim parts = ceil_div(n, kMoveGrain);
        parallel_for(l.count() * parts, 1, [&](dim begin, dim end) {
            for (dim unit = begin; unit < end; ++unit) {
                const Odometer o(l, unit / parts);
                const dim start = unit % parts * kMoveGrain;
                move_run(x + o.x + start * xs, xs, y + o.y + start * ys, ys, smaller(kMoveGrain, n - start));
            }
        });
        return;
    }
    parallel_for(count / n, larger(1, kMoveGrain / n), [&](dim begin, dim end) {
        Odometer o(l, begin);
        for (dim row = begin; row < end; ++row, o.next()) move_run(x + o.x, xs, y + o.y, ys, n);
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
