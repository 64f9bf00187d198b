// Compiled once per ISA level: the tiles of all products.
#include "kernels/tiles.h"

namespace pydl::PYDL_ISA {
namespace {

// Whether a tile for whole registers only is worth having. On AVX-512 a load or a store of all lanes under a mask takes
// no longer than one without: the tile for parts does for both, 1.8 s sooner compiled.
#if defined(__AVX512F__)
constexpr bool masks_cost = false;
#else
constexpr bool masks_cost = true;
#endif

// One tile: c(R, V vectors, the last of `last` lanes, 0 for all) = start + sum over runs, over p < k, of a(R, p) b(p, :).
// a: element (i, p) at a[i * as + p], or a[i + p * as] with KMajor. b: row p at b + p * bs.
template <class T, int R, int V, bool KMajor, bool Partial>
[[gnu::noinline]] void tile(dim k, const T* a, dim as, const T* b, dim bs, T* c, dim cs, const Ends<T>& ends, dim last,
                            const Runs& runs) {
    constexpr dim L = lanes<T>;
    if (Partial && last == 0) last = L;
    const auto get = [=](const T* p, int v) __attribute__((always_inline)) {
        return Partial && v == V - 1 ? load_partial(p + v * L, last) : load(p + v * L);
    };
    vec<T> acc[R][V];
    if (const T* start = ends.start) {
        PYDL_UNROLL for (int i = 0; i < R; ++i) {
            PYDL_UNROLL for (int v = 0; v < V; ++v) acc[i][v] = get(start + i * ends.stride, v);
        }
    } else {
        PYDL_UNROLL for (int i = 0; i < R; ++i) { PYDL_UNROLL for (int v = 0; v < V; ++v) acc[i][v] = vec<T>{}; }
    }
    // Rows of A in threes, at p, p + as, p + 2 as: one address register for three rows.
    constexpr int bases = KMajor ? 1 : (R + 2) / 3;
    for (dim run = 0; run < runs.count; ++run) {
        const T *base[bases], *from = b + runs.b[run];
        PYDL_UNROLL for (int i = 0; i < bases; ++i) {
            base[i] = a + runs.a[run] + 3 * i * as;
            asm("" : "+r"(base[i]));
        }
        for (dim p = 0; p < k; ++p) {
            vec<T> row[V];
            PYDL_UNROLL for (int v = 0; v < V; ++v) row[v] = get(from, v);
            from += bs;
            PYDL_UNROLL for (int i = 0; i < R; ++i) {
                const vec<T> x = splat(KMajor ? base[0][i] : base[KMajor ? 0 : i / 3][i % 3 * as]);
                PYDL_UNROLL for (int v = 0; v < V; ++v) acc[i][v] = fma(x, row[v], acc[i][v]);
            }
            PYDL_UNROLL for (int i = 0; i < bases; ++i) base[i] += KMajor ? as : 1;
        }
    }
    const vec<T> floor = splat(ends.floor);
    PYDL_UNROLL for (int i = 0; i < R; ++i) {
        PYDL_UNROLL for (int v = 0; v < V; ++v) {
            const vec<T> y = max(floor, acc[i][v]);
            if (Partial && v == V - 1) store_partial(c + i * cs + v * L, y, last);
            else store(c + i * cs + v * L, y);
        }
    }
}

template <class T, bool KMajor>
constexpr Tiles<T> tiles_by = []<std::size_t... R>(std::index_sequence<R...>) {
    return Tiles<T>{{{{tile<T, R + 1, 1, KMajor, !masks_cost>, tile<T, R + 1, 1, KMajor, true>},
                      {tile<T, R + 1, 2, KMajor, !masks_cost>, tile<T, R + 1, 2, KMajor, true>}}...}};
}(std::make_index_sequence<Blocking<T>::rows>{});

template <class T>
constexpr TilesOfType<T> tiles_of_type = []<std::size_t... V>(std::index_sequence<V...>) {
    return TilesOfType<T>{
        tiles_by<T, false>, tiles_by<T, true>, {{tile<T, 1, V + 1, true, false>, tile<T, 1, V + 1, true, true>}...}};
}(std::make_index_sequence<row_vectors>{});

}  // namespace

constinit const TileTables tile_tables = {tiles_of_type<float>, tiles_of_type<double>};

}  // namespace pydl::PYDL_ISA
