// Images (NHWC): resampling of an axis by a table, and warping by projective transforms.
#pragma once
#include "base/parallel.h"
#include "simd/vec.h"

namespace pydl::PYDL_ISA {
namespace {

constexpr dim image_task = 16384;  // elements per chunk: 5-20 us

PYDL_INLINE dim units_of(dim size) { return size < image_task ? image_task / (size < 1 ? 1 : size) : 1; }

// x (outer, n, inner), start (m), weight (m, taps), y (outer, m, inner):
// y[:, j, :] = sum over t of weight[j, t] x[:, start[j] + t, :], where start[j] + taps <= n.
// The gradient is the same kernel with the transposed table. In order of t for every element, whatever the width.
template <class T>
void resample(In<T> x, In<std::int32_t> start, In<T> weight, Out<T> y, dim outer, dim n, dim m, dim taps, dim inner) {
    parallel_for(outer * m, units_of(taps * inner), [=](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) {
            const dim j = i % m;
            const T* from = x + (i / m * n + start[j]) * inner;
            const T* w = weight + j * taps;
            T* to = y + i * inner;
            if (inner < lanes<T> / 2) {
                for (dim c = 0; c < inner; ++c) {
                    T sum = 0;
                    for (dim t = 0; t < taps; ++t) sum = fma(w[t], from[t * inner + c], sum);
                    to[c] = sum;
                }
                continue;
            }
            for (dim c = 0; c < inner; c += lanes<T>) {
                vec<T> sum = {};
                for (dim t = 0; t < taps; ++t) sum = fma(splat(w[t]), load_upto(from + t * inner + c, inner - c), sum);
                store_upto(to + c, sum, inner - c);
            }
        }
    });
}

// What lies outside an axis: a constant, the edge, the axis again, its mirror image without / with the edge repeated.
enum Fill : dim { fill_constant, fill_nearest, fill_wrap, fill_mirror, fill_reflect };

// The position 0 .. n - 1 shown at i, or -1 for the constant.
PYDL_INLINE dim shown(dim i, dim n, dim fill) {
    if (i >= 0 && i < n) return i;
    const auto modulo = [](dim a, dim b) { return (a % b + b) % b; };
    switch (fill) {
        case fill_nearest: return i < 0 ? 0 : n - 1;
        case fill_wrap: return modulo(i, n);
        case fill_mirror: {
            if (n == 1) return 0;
            const dim k = modulo(i, 2 * n - 2);
            return k < n ? k : 2 * n - 2 - k;
        }
        case fill_reflect: {
            const dim k = modulo(i, 2 * n);
            return k < n ? k : 2 * n - 1 - k;
        }
        default: return -1;
    }
}

// The pixels that an output pixel is made of.
template <class T>
struct Corners {
    int count = 0;
    dim pixel[4];
    T weight[4];
    T outside = 0;  // weight of the constant

    PYDL_INLINE void add(dim row, dim col, T w, dim rows, dim cols, dim fill) {
        row = shown(row, rows, fill);
        col = shown(col, cols, fill);
        if (row < 0 || col < 0) {
            outside += w;
            return;
        }
        pixel[count] = row * cols + col;
        weight[count++] = w;
    }
};

// An integer-sized coordinate; what is not finite lies far outside.
PYDL_INLINE double bounded(double v) { return !(v > -1e9) ? -1e9 : v > 1e9 ? 1e9 : v; }
PYDL_INLINE dim nearest(double v) {  // halves away from zero
    return static_cast<dim>(v < 0 ? -__builtin_floor(0.5 - v) : __builtin_floor(v + 0.5));
}

// Output pixel (row, col) shows the input at x = (a0 col + a1 row + a2) / k, y = (b0 col + b1 row + b2) / k,
// k = c0 col + c1 row + 1; transform a0 a1 a2 b0 b1 b2 c0 c1. Coordinates in double, so that the corners do not depend
// on T.
template <class T>
PYDL_INLINE Corners<T> corners_of(const T* transform, dim row, dim col, dim rows, dim cols, dim linear, dim fill) {
    const double u = static_cast<double>(col), v = static_cast<double>(row);
    const double k = transform[6] * u + transform[7] * v + 1;
    const double x = bounded((transform[0] * u + transform[1] * v + transform[2]) / k);
    const double y = bounded((transform[3] * u + transform[4] * v + transform[5]) / k);
    Corners<T> corners;
    if (!linear) {
        corners.add(nearest(y), nearest(x), 1, rows, cols, fill);
        return corners;
    }
    const double x_floor = __builtin_floor(x), y_floor = __builtin_floor(y);
    const dim left = static_cast<dim>(x_floor), top = static_cast<dim>(y_floor);
    const double right_share = x - x_floor, lower_share = y - y_floor;
    PYDL_UNROLL for (int r = 0; r < 2; ++r) PYDL_UNROLL for (int c = 0; c < 2; ++c) {
        const double w = (r ? lower_share : 1 - lower_share) * (c ? right_share : 1 - right_share);
        corners.add(top + r, left + c, static_cast<T>(w), rows, cols, fill);
    }
    return corners;
}

// x, y (batch, rows, cols, channels), transform (batch, 8): y = x at the transformed positions, bilinear or (linear =
// 0) the nearest pixel.
template <class T>
void warp(In<T> x, In<T> transform, Out<T> y, dim batch, dim rows, dim cols, dim channels, dim linear, dim fill,
          real value) {
    parallel_for(batch * rows, units_of(cols * (channels + 8)), [=](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) {
            const T* image = x + i / rows * rows * cols * channels;
            for (dim col = 0; col < cols; ++col) {
                const auto from = corners_of<T>(transform + i / rows * 8, i % rows, col, rows, cols, linear, fill);
                const T constant = from.outside == 0 ? T(0) : from.outside * static_cast<T>(value);
                T* to = y + (i * cols + col) * channels;
                for (dim c = 0; c < channels; ++c) {
                    T sum = constant;
                    PYDL_UNROLL for (int k = 0; k < 4; ++k) if (k < from.count) sum =
                        fma(from.weight[k], image[from.pixel[k] * channels + c], sum);
                    to[c] = sum;
                }
            }
        }
    });
}

// dx (batch, rows, cols, channels) from dy: the transpose of warp, image by image.
template <class T>
void warp_grad(In<T> transform, In<T> dy, Out<T> dx, dim batch, dim rows, dim cols, dim channels, dim linear,
               dim fill) {
    const dim size = rows * cols * channels;
    parallel_for(batch, units_of(rows * cols * (channels + 8)), [=](dim begin, dim end) {
        for (dim b = begin; b < end; ++b) {
            T* image = dx + b * size;
            __builtin_memset(image, 0, static_cast<std::size_t>(size) * sizeof(T));
            for (dim row = 0; row < rows; ++row)
                for (dim col = 0; col < cols; ++col) {
                    const auto to = corners_of<T>(transform + b * 8, row, col, rows, cols, linear, fill);
                    const T* from = dy + b * size + (row * cols + col) * channels;
                    for (int k = 0; k < to.count; ++k)
                        for (dim c = 0; c < channels; ++c) {
                            T& sum = image[to.pixel[k] * channels + c];
                            sum = fma(to.weight[k], from[c], sum);
                        }
                }
        }
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
