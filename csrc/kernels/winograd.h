// Winograd's convolution F(4x4, 3x3): 36 multiplications for 4 x 4 outputs of a 3 x 3 kernel instead of 144.
//
//      y = A' [ (G w G') * (B' x B) ] A        x (6, 6), w (3, 3), y (4, 4); * elementwise, summed over channels
//
// Tiles of the input are brought to 6 x 6 points (B), multiplied with the kernel at those points (G), 36 products of
// matrices (tiles, channels) (channels, filters), and read back (A). The kernel's gradient is the same sum with A and G
// exchanged: G' [ (B' x B) * (A dz A') ] G, 36 products (channels, tiles) (tiles, filters).
//
// Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016. The points are 0, +-5/8, +-3/2, infinity:
// of the pairs between 1/2 and 2 the most accurate one that is exact in binary. The largest error is a third of that
// of the usual 0, +-1, +-2, and about twice that of a direct float32 sum.
#pragma once
#include "kernels/gemm.h"
#include "kernels/slide.h"

namespace pydl::PYDL_ISA {
namespace {

// ------------------------------------------------------------------------------------- six points

// One dimension: 6 values of the data, 3 of the kernel, 4 of the result. The values at +p and -p share their even and
// odd parts.
template <class T>
struct Points {
    // The points and their squares; the factor of G: one over the product of a point's distances from the others.
    static constexpr T a = 0.625, b = 1.5, A = a * a, B = b * b;
    static constexpr T at_0 = 1 / (A * B), at_a = 1 / (2 * A * (A - B)), at_b = 1 / (2 * B * (B - A));

    struct Data {  // B' d
        PYDL_INLINE void operator()(const vec<T> (&d)[6], vec<T> (&p)[6]) const {
            const vec<T> even_a = fma(splat(-B), d[2], d[4]), odd_a = a * fma(splat(-B), d[1], d[3]);
            const vec<T> even_b = fma(splat(-A), d[2], d[4]), odd_b = b * fma(splat(-A), d[1], d[3]);
            p[0] = fma(splat(A * B), d[0], fma(splat(-A - B), d[2], d[4]));
            p[1] = even_a + odd_a;
            p[2] = even_a - odd_a;
            p[3] = even_b + odd_b;
            p[4] = even_b - odd_b;
            p[5] = fma(splat(A * B), d[1], fma(splat(-A - B), d[3], d[5]));
        }
    };
    struct Kernel {  // G w
        PYDL_INLINE void operator()(const vec<T> (&w)[3], vec<T> (&p)[6]) const {
            const vec<T> even_a = at_a * fma(splat(A), w[2], w[0]), odd_a = (a * at_a) * w[1];
            const vec<T> even_b = at_b * fma(splat(B), w[2], w[0]), odd_b = (b * at_b) * w[1];
            p[0] = at_0 * w[0];
            p[1] = even_a + odd_a;
            p[2] = even_a - odd_a;
            p[3] = even_b + odd_b;
            p[4] = even_b - odd_b;
            p[5] = w[2];
        }
    };
    struct KernelGradient {  // G' p
        PYDL_INLINE void operator()(const vec<T> (&p)[6], vec<T> (&w)[3]) const {
            const vec<T> even_a = at_a * (p[1] + p[2]), odd_a = at_a * (p[1] - p[2]);
            const vec<T> even_b = at_b * (p[3] + p[4]), odd_b = at_b * (p[3] - p[4]);
            w[0] = fma(splat(at_0), p[0], even_a + even_b);
            w[1] = fma(splat(b), odd_b, a * odd_a);
            w[2] = fma(splat(A), even_a, fma(splat(B), even_b, p[5]));
        }
    };
    struct Output {  // A' p
        PYDL_INLINE void operator()(const vec<T> (&p)[6], vec<T> (&y)[4]) const {
            const vec<T> even_a = p[1] + p[2], odd_a = p[1] - p[2], even_b = p[3] + p[4], odd_b = p[3] - p[4];
            y[0] = p[0] + (even_a + even_b);
            y[1] = fma(splat(b), odd_b, a * odd_a);
            y[2] = fma(splat(B), even_b, A * even_a);
            y[3] = fma(splat(b * B), odd_b, fma(splat(a * A), odd_a, p[5]));
        }
    };
    struct OutputGradient {  // A z
        PYDL_INLINE void operator()(const vec<T> (&z)[4], vec<T> (&p)[6]) const {
            const vec<T> even_a = fma(splat(A), z[2], z[0]), odd_a = a * fma(splat(A), z[3], z[1]);
            const vec<T> even_b = fma(splat(B), z[2], z[0]), odd_b = b * fma(splat(B), z[3], z[1]);
            p[0] = z[0];
            p[1] = even_a + odd_a;
            p[2] = even_a - odd_a;
            p[3] = even_b + odd_b;
            p[4] = even_b - odd_b;
            p[5] = z[3];
        }
    };
};

// Both dimensions: F along either axis takes get(i, j), i, j < From, to put(i, j, value), i, j < To.
template <class T, int From, int To, class F, class Get, class Put>
PYDL_INLINE void both_axes(Get get, Put put) {
    vec<T> half[To][From];
    PYDL_UNROLL for (int j = 0; j < From; ++j) {
        vec<T> column[From], points[To];
        PYDL_UNROLL for (int i = 0; i < From; ++i) column[i] = get(i, j);
        F{}(column, points);
        PYDL_UNROLL for (int i = 0; i < To; ++i) half[i][j] = points[i];
    }
    PYDL_UNROLL for (int i = 0; i < To; ++i) {
        vec<T> points[To];
        F{}(half[i], points);
        PYDL_UNROLL for (int j = 0; j < To; ++j) put(i, j, points[j]);
    }
}

// ---------------------------------------------------------------------------------- tiles of images

// A 3 x 3 window that moves by one pixel over flat images (batch, height, width, channels), with zeros before them
// (`top`, `left`) and as many as are needed behind.
struct Flat3x3 {
    dim batch, height, width, channels, top, left, out_height, out_width, filters;

    PYDL_INLINE static bool fits(const Geometry& g) {
        const auto& [d, h, w] = g.axis;
        const auto slides = [](const Axis& a) { return a.size == 3 && a.stride == 1 && a.dilation == 1; };
        const bool flat = d.size == 1 && d.stride == 1 && d.before == 0 && d.inputs == d.outputs;
        return g.groups == 1 && flat && slides(h) && slides(w);
    }
    PYDL_INLINE static Flat3x3 forward(const Geometry& g) {
        const auto& [d, h, w] = g.axis;
        return {g.batch * d.inputs, h.inputs,  w.inputs,  g.channels, h.before,
                w.before,           h.outputs, w.outputs, g.filters};
    }
    // The input gradient is a convolution of dz.
    PYDL_INLINE static Flat3x3 gradient(const Geometry& g) {
        const auto& [d, h, w] = g.axis;
        return {g.batch * d.inputs, h.outputs, w.outputs, g.filters, 2 - h.before,
                2 - w.before,       h.inputs,  w.inputs,  g.channels};
    }
};

// Tiles of 4 x 4 outputs: which image and where in it.
struct OutputTiles {
    dim down, across, count;

    PYDL_INLINE explicit OutputTiles(const Flat3x3& s)
        : down(ceil_div(s.out_height, 4)), across(ceil_div(s.out_width, 4)), count(s.batch * down * across) {}
    struct Place {
        dim image, h, w;
    };
    PYDL_INLINE Place operator[](dim t) const { return {t / (down * across), t / across % down * 4, t % across * 4}; }
};

// Tiles at the 36 points, channels cut into slices of `depth` (whole vectors): (slices, 36, tiles, depth).
template <class T>
struct Planes {
    T* at;
    dim tiles, channels, depth;

    static constexpr dim even_depth(dim channels, dim most) {
        return ceil_div(even_part(channels, most), lanes<T>) * lanes<T>;
    }
    PYDL_INLINE dim plane() const { return odd_lines<T>(tiles * depth); }
    PYDL_INLINE dim slices() const { return ceil_div(channels, depth); }
    PYDL_INLINE dim bytes() const { return slices() * 36 * plane() * sizeof(T); }
    PYDL_INLINE T* slice(dim s) const { return at + s * 36 * plane(); }
};

// The patch (Size, Size) at (h, w) of an image, zeros around the image, as tile t.
template <class T, int Size, class F, bool Inside>
void patch_to_points(const T* image, dim height, dim width, dim h, dim w, const Planes<T>& to, dim t) {
    const dim channels = to.channels, plane = to.plane();
    const T* corner = image + (h * width + w) * channels;
    for (dim s = 0; s < to.slices(); ++s) {
        T* point = to.slice(s) + t * to.depth;
        for (dim c = s * to.depth; c < least(channels, (s + 1) * to.depth); c += lanes<T>, point += lanes<T>) {
            // What the next patch adds: 16 x 28 x 28 x 128 takes 1.1 ms instead of 1.6 on one core.
            PYDL_UNROLL for (int i = Size - 4; i < Size; ++i) {
                PYDL_UNROLL for (int j = Size; j < Size + 4; ++j) prefetch(corner + (i * width + j) * channels + c);
            }
            both_axes<T, Size, 6, F>(
                [=](int i, int j) __attribute__((always_inline)) {
                    if (!Inside && !(h + i >= 0 && h + i < height && w + j >= 0 && w + j < width)) return vec<T>{};
                    return load_upto(corner + (i * width + j) * channels + c, channels - c);
                },
                [=](int i, int j, vec<T> v) __attribute__((always_inline)) { store(point + (i * 6 + j) * plane, v); });
        }
    }
}

// Tiles t0.. of images (height, width, channels), as many as `to` holds; a patch begins `top`, `left` before its tile.
template <class T, int Size, class F>
PYDL_INLINE void images_to_points(const T* images, dim height, dim width, dim top, dim left, OutputTiles places, dim t0,
                                  const Planes<T>& to) {
    parallel_for(to.tiles, ceil_div(1024, to.channels), [=](dim begin, dim end) {
        for (dim t = begin; t < end; ++t) {
            const auto [n, oh, ow] = places[t0 + t];
            const dim h = oh - top, w = ow - left;
            const bool inside = h >= 0 && w >= 0 && h + Size <= height && w + Size <= width;
            (inside ? patch_to_points<T, Size, F, true>
                    : patch_to_points<T, Size, F, false>)(images + n * height * width * to.channels, height, width, h,
                                                          w, to, t);
        }
    });
}

// ------------------------------------------------------------------------- forward, input gradient

// Channels k0.., `depth` of them, and filters f0.., `count` <= panel, of a kernel w(3, 3, channels, filters), or
// flipped w(3, 3, filters, channels), as (36, depth, panel), planes `plane` apart.
template <class T>
void kernel_to_points(const T* w, dim channels, dim filters, bool flipped, dim k0, dim depth, dim f0, dim count, T* to,
                      dim plane) {
    constexpr dim L = lanes<T>, panel = Blocking<T>::width;
    for (dim f = 0; f < count; f += L) {
        const dim filters_left = count - f;
        for (dim k = 0; k < depth; k += L) {
            const dim rows = least(L, depth - k);
            vec<T> taps[9][L];  // filters in the lanes
            for (dim i = 0; i < 9; ++i) {
                if (flipped) {
                    const T* from = w + ((8 - i) * filters + f0 + f) * channels + k0 + k;
                    PYDL_UNROLL for (dim r = 0; r < L; ++r) taps[i][r] =
                        r < filters_left ? load_upto(from + r * channels, rows) : vec<T>{};
                    transpose<T>(taps[i]);
                } else {
                    const T* from = w + (i * channels + k0 + k) * filters + f0 + f;
                    for (dim r = 0; r < rows; ++r) taps[i][r] = load_upto(from + r * filters, filters_left);
                }
            }
            for (dim r = 0; r < rows; ++r) {
                T* point = to + (k + r) * panel + f;
                both_axes<T, 3, 6, typename Points<T>::Kernel>(
                    [&](int i, int j) __attribute__((always_inline)) { return taps[i * 3 + j][r]; },
                    [=](int i, int j, vec<T> v)
                        __attribute__((always_inline)) { store(point + (i * 6 + j) * plane, v); });
            }
        }
    }
}

// 36 times c(m, n <= panel) (+)= a b. a: (m, k) by rows or, KMajor, (k, m), rows `stride` apart; b(k, panel),
// c(m, panel). The next product's operands lie a_plane, b_plane, c_plane further on.
template <class T, bool KMajor>
void multiply_points(dim m, dim n, dim k, const T* a, dim stride, dim a_plane, const T* b, dim b_plane, T* c,
                     dim c_plane, bool accumulate) {
    constexpr dim panel = Blocking<T>::width;
    const dim rows = even_part(m, Blocking<T>::rows), vectors = ceil_div(n, lanes<T>);
    for (dim p = 0; p < 36; ++p, a += a_plane, b += b_plane, c += c_plane)
        for (dim i = 0; i < m; i += rows) {
            T* to = c + i * panel;
            tiles<T, KMajor>.of[least(rows, m - i) - 1][vectors - 1][0](
                k, a + (KMajor ? i : i * stride), stride, b, panel, to, panel,
                {accumulate ? to : nullptr, panel, minus_infinity<T>}, 0, one_run);
        }
}

// The tile m(36, panel) with what `out` adds, the pixels (high, wide) and filters (count) that exist, at c.
template <class T>
void points_to_output(const T* m, dim plane, dim high, dim wide, dim count, const T* bias, T* c, dim row_stride,
                      const Result<T>& out) {
    for (dim f = 0; f < count; f += lanes<T>) {
        const dim left = count - f;
        const vec<T> start = bias ? load_upto(bias + f, left) : vec<T>{}, floor = splat(out.floor);
        both_axes<T, 6, 4, typename Points<T>::Output>(
            [=](int i, int j) __attribute__((always_inline)) { return load(m + (i * 6 + j) * plane + f); },
            [=](int i, int j, vec<T> v) __attribute__((always_inline)) {
                if (i >= high || j >= wide) return;
                T* y = c + i * row_stride + j * out.stride + f;
                store_upto(y, max(floor, v + (out.accumulate ? load_upto(y, left) : start)), left);
            });
    }
    if (out.finish)
        for (dim i = 0; i < high; ++i) out.finish(c + i * row_stride, wide, count, out.stride);
}

PYDL_INLINE constexpr dim most(dim a, dim b) { return a > b ? a : b; }

// Measured (Zen 4, AVX-512): flat from 64 to 128 channels and tiles; the kernel is brought to the points once per
// group. The tiles take `winograd_bytes` or one group (twice that for the kernel's gradient, which holds x and dz: half
// of it cost 10 % at 256 channels), a thread's share of kernel and products 1.2 MB.
constexpr dim winograd_depth = 128, winograd_bytes = dim{4} << 20;
// Tiles of a part, channels of a part of the kernel's gradient (32: no slower than 128): fewer for eight parts.
PYDL_INLINE constexpr dim winograd_group(dim tiles, dim panels) {
    return even_part(tiles, least(dim{128}, most(dim{32}, tiles * panels / 8)));
}
PYDL_INLINE constexpr dim winograd_block(dim channels, dim panels) {
    return least(dim{32}, most(dim{16}, channels * panels / 8));
}

// Whether Winograd's scheme takes less than 0.8 of the time of a direct sum, from the cycles of a vector measured for
// each (Zen 4, AVX-512): 1 per multiplication in both, about 300 to bring a tile to the points or back, 200 for a
// kernel. Where it says yes, nothing measured from 8 to 512 channels, 4 x 4 to 224 x 224 pixels, on any of the x86
// levels was slower. Only for float32. (An infinity reaches all outputs of its tiles, as NaN.)
template <class T>
PYDL_INLINE bool winograd_pays(const Flat3x3& s) {
    constexpr dim L = lanes<T>, tile = 300, kernel = 200;
    const dim columns = ceil_div(s.filters, L) * L, tiles = OutputTiles(s).count;
    if (tiles == 0) return false;
    const dim direct = s.batch * s.out_height * s.out_width * 9 * s.channels * columns;
    const dim here =
        tiles * (36 * s.channels * columns + tile * (ceil_div(s.channels, L) * L + columns)) +
        ceil_div(tiles, winograd_group(tiles, ceil_div(s.filters, Blocking<T>::width))) * kernel * s.channels * columns;
    return sizeof(T) == sizeof(float) && 5 * here < 4 * direct;
}

// y(batch, out_height, out_width, filters) = what `out` makes of the sum over 3 x 3 taps and channels of x times
// w(3, 3, channels, filters), or flipped w(3, 3, filters, channels), read backwards along both axes of space. No size
// is 0.
template <class T>
void winograd_conv(const Flat3x3& s, const T* x, const T* w, bool flipped, const Result<T>& out) {
    constexpr dim panel = Blocking<T>::width;
    const auto [batch, height, width, channels, top, left, out_height, out_width, filters] = s;
    const OutputTiles places(s);
    const dim total = places.count, panels = ceil_div(filters, panel);
    const dim depth = Planes<T>::even_depth(channels, winograd_depth), group = winograd_group(total, panels);
    const dim most_groups = winograd_bytes / static_cast<dim>(36 * channels * group * sizeof(T)) + 1;
    const dim at_once = group * even_part(ceil_div(total, group), most_groups);
    Planes<T> data{nullptr, at_once, channels, depth};
    data.at = static_cast<T*>(scratch_bytes(Slot::winograd_data, data.bytes()));
    for (dim t0 = 0; t0 < total; t0 += at_once) {
        data.tiles = least(at_once, total - t0);
        images_to_points<T, 6, typename Points<T>::Data>(x, height, width, top, left, places, t0, data);
        parallel_for(panels * ceil_div(data.tiles, group), 1, [=](dim begin, dim end) {
            const dim kernel_plane = odd_lines<T>(depth * panel), m_plane = odd_lines<T>(group * panel);
            T* kernel = scratch<T>(Slot::winograd_kernel, 36 * kernel_plane);
            T* m = scratch<T>(Slot::winograd_tiles, 36 * m_plane);
            for (dim part = begin; part < end; ++part) {
                const dim first = part / panels * group, count = least(group, data.tiles - first);
                const dim f0 = part % panels * panel, n = least(panel, filters - f0);
                for (dim slice = 0; slice < data.slices(); ++slice) {
                    const dim k0 = slice * depth, k = least(depth, channels - k0);
                    kernel_to_points(w, channels, filters, flipped, k0, k, f0, n, kernel, kernel_plane);
                    multiply_points<T, false>(count, n, k, data.slice(slice) + first * depth, depth, data.plane(),
                                              kernel, kernel_plane, m, m_plane, slice > 0);
                }
                for (dim t = 0; t < count; ++t) {
                    const auto [image, oh, ow] = places[t0 + first + t];
                    points_to_output(m + t * panel, m_plane, least(dim{4}, out_height - oh),
                                     least(dim{4}, out_width - ow), n, out.bias ? out.bias + f0 : nullptr,
                                     out.c + ((image * out_height + oh) * out_width + ow) * out.stride + f0,
                                     out_width * out.stride, out);
                }
            }
        });
    }
}

// -------------------------------------------------------------------------------- kernel gradient

// dw(3, 3, channels, filters) (+)= the sum over images and pixels of x times dz(batch, out_height, out_width, filters).
// No size is 0.
template <class T>
void winograd_dw(const Flat3x3& s, const T* x, const T* dz, T* dw, bool accumulate) {
    constexpr dim panel = Blocking<T>::width;
    const auto [batch, height, width, channels, top, left, out_height, out_width, filters] = s;
    const OutputTiles places(s);
    const dim total = places.count;
    const dim tile_bytes = 36 * (channels + filters) * sizeof(T);
    const dim at_once = even_part(total, 2 * winograd_bytes / tile_bytes + 32);
    const dim block = winograd_block(channels, ceil_div(filters, panel));
    Planes<T> data{nullptr, at_once, channels, Planes<T>::even_depth(channels, block)};
    Planes<T> output{nullptr, at_once, filters, panel};
    data.at = static_cast<T*>(scratch_bytes(Slot::winograd_data, data.bytes()));
    output.at = static_cast<T*>(scratch_bytes(Slot::winograd_output, output.bytes()));
    for (dim t0 = 0; t0 < total; t0 += at_once) {
        data.tiles = output.tiles = least(at_once, total - t0);
        images_to_points<T, 6, typename Points<T>::Data>(x, height, width, top, left, places, t0, data);
        images_to_points<T, 4, typename Points<T>::OutputGradient>(dz, out_height, out_width, 0, 0, places, t0, output);
        const bool add = accumulate || t0 > 0;
        parallel_for(data.slices() * output.slices(), 1, [=](dim begin, dim end) {
            const dim m_plane = odd_lines<T>(data.depth * panel);
            T* m = scratch<T>(Slot::winograd_tiles, 36 * m_plane);
            for (dim part = begin; part < end; ++part) {
                const dim slice = part % data.slices(), c0 = slice * data.depth,
                          rows = least(data.depth, channels - c0);
                const dim f0 = part / data.slices() * panel, n = least(panel, filters - f0);
                multiply_points<T, true>(rows, n, data.tiles, data.slice(slice), data.depth, data.plane(),
                                         output.slice(f0 / panel), output.plane(), m, m_plane, false);
                for (dim c = 0; c < rows; ++c)
                    for (dim f = 0; f < n; f += lanes<T>) {
                        const T* point = m + c * panel + f;
                        T* to = dw + (c0 + c) * filters + f0 + f;
                        both_axes<T, 6, 3, typename Points<T>::KernelGradient>(
                            [=](int i, int j)
                                __attribute__((always_inline)) { return load(point + (i * 6 + j) * m_plane); },
                            [=](int i, int j, vec<T> v) __attribute__((always_inline)) {
                                T* y = to + (i * 3 + j) * channels * filters;
                                store_upto(y, add ? v + load_upto(y, n - f) : v, n - f);
                            });
                    }
            }
        });
    }
}

}  // namespace
}  // namespace pydl::PYDL_ISA
