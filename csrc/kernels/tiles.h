// The register tiles of kernels/gemm.h, and the rows of them for a vector times a matrix. Every family that multiplies
// calls the same ones, which tiles.cpp compiles once per ISA level.
#pragma once
#include "simd/vec.h"

namespace pydl::PYDL_ISA {

// What a tile starts from: zeros (start null), one row for all (stride 0: a bias), or a matrix (C itself).
// What it ends with: max(value, floor), which is relu for floor 0 and nothing for minus infinity; NaN stays.
template <class T>
struct Ends {
    const T* start;
    dim stride;
    T floor;
};

// k in `count` runs of equal length: where each begins in a and in b. A product has one run; a convolution one for
// each row of its window, whose inputs lie side by side.
struct Runs {
    dim count;
    const dim *a, *b;
};
template <class T>
using TileFunction = void (*)(dim k, const T* a, dim as, const T* b, dim bs, T* c, dim cs, const Ends<T>& ends,
                              dim last, const Runs& runs);

namespace {

// The block sizes. rows x vectors accumulators + vectors of B + one of A must fit the registers (32, 16 or 16); a
// row panel of A (rows x depth) the L1 cache with room for B to stream through, a slice of B (depth x columns) L2.
template <class T>
struct Blocking {
    static constexpr int vectors = 2;
#if defined(__AVX512F__)
    static constexpr int rows = 14;
#elif defined(__AVX2__)
    static constexpr int rows = 6;
#elif defined(__aarch64__)
    static constexpr int rows = 12;
#else
    static constexpr int rows = 4;
#endif
    static constexpr dim width = vectors * lanes<T>;
    static constexpr dim depth = 1536 / sizeof(T);
    static constexpr dim columns = 2048 / sizeof(T);
};

// Vectors of c in a tile of one row, so that B streams through.
constexpr int row_vectors = 8;

}  // namespace

// The tiles of T, by their rows, their vectors, and whether the last of these is only in part there.
template <class T>
struct Tiles {
    TileFunction<T> of[Blocking<T>::rows][Blocking<T>::vectors][2];
};
template <class T>
struct TilesOfType {
    Tiles<T> by_rows, by_columns;  // as A is stored
    TileFunction<T> row[row_vectors][2];
};
struct TileTables {
    TilesOfType<float> float32;
    TilesOfType<double> float64;
};
extern const TileTables tile_tables;

namespace {

template <class T>
PYDL_INLINE constexpr const TilesOfType<T>& tiles_of() {
    if constexpr (same<T, float>) return tile_tables.float32;
    else return tile_tables.float64;
}
// KMajor: A is stored by columns.
template <class T, bool KMajor>
constexpr const Tiles<T>& tiles = KMajor ? tiles_of<T>().by_columns : tiles_of<T>().by_rows;

constexpr dim at_start = 0;
constexpr Runs one_run = {1, &at_start, &at_start};

}  // namespace
}  // namespace pydl::PYDL_ISA
