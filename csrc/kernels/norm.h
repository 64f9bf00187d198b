// Normalisation: over the rows of (rows, channels) (batch), over the features of (rows, features) (layer, RMS).
// Sums run in T over blocks that fit in L1 and go from block to block in double; blocks and tasks are cut by size
// alone. Lines of memory are read in order and once per pass: one register of columns at a time, and the variance as a
// second pass over the block, took 515 + 790 us for 64x28x28x32 floats forward + gradient on one thread, this takes
// 297 + 480 (memory alone: 212 + 353).
#pragma once
#include "base/memory.h"
#include "kernels/group_norm.h"
#include "kernels/rows.h"

namespace pydl::PYDL_ISA {
namespace {

constexpr dim norm_block = 8192;  // elements: 32 KiB of float

// Rows of a block and of a task of the column sums over (rows, channels).
struct ColumnPartition {
    dim rows, channels, block, task, tasks;
    PYDL_INLINE ColumnPartition(dim rows_, dim channels_) : rows(rows_), channels(channels_) {
        block = most(norm_block / most(channels, dim{1}), dim{32});
        task = ceil_div(stream_task / most(channels, dim{1}), block) * block;
        task = most(task, ceil_div(ceil_div(rows, max_pieces), block) * block);  // bounds the memory of the partials
        tasks = ceil_div(rows, most(task, dim{1}));
    }
};

// Columns [at, at + live) of an array of rows, one register; `full` when all lanes live.
template <class T, bool full>
struct Columns {
    dim at, live;
    PYDL_INLINE vec<T> load(const T* row) const {
        if constexpr (full) return PYDL_ISA::load(row + at);
        else return load_partial(row + at, live);
    }
    PYDL_INLINE void store(T* row, vec<T> v) const {
        if constexpr (full) PYDL_ISA::store(row + at, v);
        else store_partial(row + at, v, live);
    }
};

// `width` neighbouring registers of columns go down the rows together, so that lines of memory are read in order;
// where they are few, several rows have sums of their own: always four chains of additions per quantity.
template <int count, int width, bool full, class T, class F, class Take>
PYDL_INLINE void sum_group(dim rows, dim at, dim live, const F& f, const Take& take) {
    constexpr int chains = 4 / width;
    vec<T> sum[chains][width][count] = {};
    const auto add = [&](dim r, vec<T>(&s)[width][count]) __attribute__((always_inline)) {
        PYDL_UNROLL for (int w = 0; w < width; ++w) f(r, Columns<T, full>{at + w * lanes<T>, live}, s[w]);
    };
    dim r = 0;
    for (; r + chains <= rows; r += chains) PYDL_UNROLL for (int k = 0; k < chains; ++k) add(r + k, sum[k]);
    for (; r < rows; ++r) add(r, sum[0]);
    PYDL_UNROLL for (int w = 0; w < width; ++w) {
        PYDL_UNROLL for (int q = 0; q < count; ++q) {
            if constexpr (chains == 4) sum[0][w][q] = (sum[0][w][q] + sum[1][w][q]) + (sum[2][w][q] + sum[3][w][q]);
            else if constexpr (chains == 2) sum[0][w][q] = sum[0][w][q] + sum[1][w][q];
        }
        take(Columns<T, full>{at + w * lanes<T>, live}, sum[0][w]);
    }
}

// take(columns, sums) for every register of columns: the sums over rows of what f(row, columns, sums) adds.
template <int count, class T, class F, class Take>
PYDL_INLINE void sum_rows(dim rows, dim channels, const F& f, const Take& take) {
    constexpr dim L = lanes<T>;
    dim c = 0;
    for (; c + 4 * L <= channels; c += 4 * L) sum_group<count, 4, true, T>(rows, c, L, f, take);
    if (c + 2 * L <= channels) {
        sum_group<count, 2, true, T>(rows, c, L, f, take);
        c += 2 * L;
    }
    if (c + L <= channels) {
        sum_group<count, 1, true, T>(rows, c, L, f, take);
        c += L;
    }
    if (c < channels) sum_group<count, 1, false, T>(rows, c, channels - c, f, take);
}

// totals[q][c] = sum over rows of quantity q, in double: f(row, columns, sums) adds a row's.
// totals (count, channels) and the partial sums lie in Slot::partial_sums of the caller.
template <int count, class T, class F>
double* column_sums(dim rows, dim channels, const F& f) {
    const ColumnPartition p(rows, channels);
    const dim width = count * channels;
    auto* partial = scratch<double>(Slot::partial_sums, most(p.tasks, dim{1}) * width);
    if (p.tasks == 0)
        for (dim i = 0; i < width; ++i) partial[i] = 0;
    parallel_for(rows, p.task, [&](dim begin, dim end) {
        double* mine = partial + begin / p.task * width;
        for (dim i = 0; i < width; ++i) mine[i] = 0;
        for (dim b = begin; b < end; b += p.block)
            sum_rows<count, T>(
                least(p.block, end - b), channels,
                [&](dim r, auto columns, vec<T>(&s)[count]) __attribute__((always_inline)) { f(b + r, columns, s); },
                [&](auto columns, vec<T>(&s)[count]) __attribute__((always_inline)) {
                    PYDL_UNROLL for (int q = 0; q < count; ++q) for (dim k = 0; k < columns.live; ++k)
                        mine[q * channels + columns.at + k] += static_cast<double>(s[q][k]);
                });
    });
    for (dim t = 1; t < p.tasks; ++t)
        for (dim i = 0; i < width; ++i) partial[i] += partial[t * width + i];
    return partial;
}

// Joins (weight nb, mean mb, squared deviations db) into a running triple (Chan, Golub, LeVeque 1983);
// share = nb / (n + nb).
PYDL_INLINE void join_moments(double n, double share, double& m, double& d, double mb, double db) {
    const double delta = mb - m;
    m += delta * share;
    d += db + delta * delta * n * share;
}

// Mean and sum of squared deviations of each column, rows weighted by `weight` (null: all 1). Lies in Slot::partial_sums:
// mean (channels), deviation (channels); returns the sum of the weights.
// A block is read once, less the mean of a 32nd of its rows: at most sqrt(32) deviations beside the block's own mean,
// so that the difference of squares loses 5 bits at worst, whatever the data. Weighted: less the block's mean.
template <class T>
double column_moments(const T* x, const T* weight, dim rows, dim channels, double*& mean, double*& deviation) {
    const ColumnPartition p(rows, channels);
    const dim width = 3 * channels + 1;  // means, deviations, weight; room for the shifts
    auto* partial = scratch<double>(Slot::partial_sums, most(p.tasks, dim{1}) * width);
    mean = partial;
    deviation = partial + channels;
    for (dim i = 0; i < width; ++i) partial[i] = 0;
    parallel_for(rows, p.task, [&](dim begin, dim end) {
        double* mine = partial + begin / p.task * width;
        double &seen = mine[2 * channels], *deviations = mine + channels;
        auto* shift = reinterpret_cast<T*>(mine + 2 * channels + 1);
        for (dim i = 0; i <= 2 * channels; ++i) mine[i] = 0;
        for (dim b = begin; b < end; b += p.block) {
            const dim n = least(p.block, end - b), sample = weight ? n : ceil_div(n, 32);
            const T *at = x + b * channels, *w = weight ? weight + b : nullptr;
            double total = static_cast<double>(n);
            if (w) {
                total = 0;
                for (dim r = 0; r < n; ++r) total += static_cast<double>(w[r]);
                if (total <= 0) continue;
            }
            const double inverse = 1 / total, share = total / (seen + total);
            const T part = static_cast<T>(1 / (w ? total : static_cast<double>(sample)));
            const auto moments = [&](auto weigh) __attribute__((always_inline)) {
                sum_rows<1, T>(
                    sample, channels,
                    [&](dim r, auto columns, vec<T>(&s)[1])
                        __attribute__((always_inline)) { s[0] += weigh(columns.load(at + r * channels), r); },
                    [&](auto columns, vec<T>(&s)[1])
                        __attribute__((always_inline)) { columns.store(shift, s[0] * part); });
                sum_rows<2, T>(
                    n, channels,
                    [&](dim r, auto columns, vec<T>(&s)[2]) __attribute__((always_inline)) {
                        const vec<T> d = columns.load(at + r * channels) - columns.load(shift), weighed = weigh(d, r);
                        s[0] += weighed;
                        s[1] = fma(d, weighed, s[1]);
                    },
                    [&](auto columns, vec<T>(&s)[2]) __attribute__((always_inline)) {
                        for (dim k = 0; k < columns.live; ++k) {
                            const dim c = columns.at + k;
                            const double off = static_cast<double>(s[0][k]) * inverse;
                            const double square = static_cast<double>(s[1][k]) - off * off * total;
                            join_moments(seen, share, mine[c], deviations[c], static_cast<double>(shift[c]) + off,
                                         square < 0 ? 0 : square);  // NaN stays
                        }
                    });
            };
            if (w) moments([&](vec<T> v, dim r) __attribute__((always_inline)) { return v * splat(w[r]); });
            else moments([](vec<T> v, dim) __attribute__((always_inline)) { return v; });
            seen += total;
        }
    });
    for (dim t = 1; t < p.tasks; ++t) {
        const double* part = partial + t * width;
        const double n = partial[2 * channels], more = part[2 * channels];
        if (more <= 0) continue;
        for (dim c = 0; c < channels; ++c)
            join_moments(n, more / (n + more), mean[c], deviation[c], part[c], part[channels + c]);
        partial[2 * channels] += more;
    }
    return partial[2 * channels];
}

// f(columns)(row) for every register of (rows, channels), in parallel, the last rows first: the pass before this one
// went forward, and what it read last is still in L2. Rows of one, two or four registers keep what f loads per column
// in registers.
template <class T, class F>
PYDL_INLINE void each_cell(dim rows, dim channels, const F& f) {
    constexpr dim L = lanes<T>;
    using Full = Columns<T, true>;
    parallel_for(rows, most(stream_task / most(channels, dim{1}), dim{1}), [&](dim first, dim last) {
        const dim begin = rows - last, end = rows - first;
        if (channels == L) {
            const auto a = f(Full{0, L});
            for (dim r = begin; r < end; ++r) a(r);
        } else if (channels == 2 * L) {
            const auto a = f(Full{0, L}), b = f(Full{L, L});
            for (dim r = begin; r < end; ++r) {
                a(r);
                b(r);
            }
        } else if (channels == 4 * L) {
            const auto a = f(Full{0, L}), b = f(Full{L, L}), c = f(Full{2 * L, L}), d = f(Full{3 * L, L});
            for (dim r = begin; r < end; ++r) {
                a(r);
                b(r);
                c(r);
                d(r);
            }
        } else {
            for (dim r = begin; r < end; ++r) {
                dim c = 0;
                for (; c + L <= channels; c += L) f(Full{c, L})(r);
                if (c < channels) f(Columns<T, false>{c, channels - c})(r);
            }
        }
    });
}

// y = (x - mean) rstd gamma + beta; x, y (rows, channels), the others (channels), gamma and beta may be null.
template <class T, class R>
void normalize_columns(const T* x, const T* mean, const R* rstd, const T* gamma, const T* beta, T* y, dim rows,
                       dim channels) {
    auto* scale = scratch<T>(Slot::channel_scales, 2 * channels);
    T* shift = scale + channels;
    for (dim c = 0; c < channels; ++c) {
        const T r = static_cast<T>(rstd[c]);
        scale[c] = gamma ? r * gamma[c] : r;
        shift[c] = beta ? beta[c] : T(0);
    }
    each_cell<T>(rows, channels, [=](auto columns) __attribute__((always_inline)) {
        const vec<T> m = columns.load(mean), a = columns.load(scale), b = columns.load(shift);
        return [=](dim r) __attribute__((always_inline)) {
            columns.store(y + r * channels, fma(columns.load(x + r * channels) - m, a, b));
        };
    });
}

// Batch normalisation in training (Ioffe and Szegedy 2015). x, y (rows, channels); weight (rows) or null: how much a
// row counts in the statistics; the others (channels). The moving statistics become moving * momentum + batch's * (1 -
// momentum). mean and rstd are for the gradient.
template <class T>
void batch_norm(In<T> x, OptIn<T> weight, OptIn<T> gamma, OptIn<T> beta, InOut<T> moving_mean, InOut<T> moving_variance,
                Out<T> y, Out<T> mean, Out<T> rstd, dim rows, dim channels, real momentum, real epsilon) {
    double *m, *d;
    const double count = column_moments<T>(x, weight, rows, channels, m, d);
    for (dim c = 0; c < channels; ++c) {
        const double variance = count > 0 ? d[c] / count : 0;
        mean[c] = static_cast<T>(m[c]);
        rstd[c] = static_cast<T>(1 / __builtin_sqrt(variance + epsilon));
        if (count > 0) {
            moving_mean[c] = static_cast<T>(moving_mean[c] * momentum + m[c] * (1 - momentum));
            moving_variance[c] = static_cast<T>(moving_variance[c] * momentum + variance * (1 - momentum));
        }
    }
    normalize_columns<T>(x, mean, rstd.ptr, gamma, beta, y, rows, channels);
}

// dbeta = sum dy, dgamma = sum dy xhat, dx = gamma rstd (dy - weight (dbeta + xhat dgamma) / count).
template <class T>
void batch_norm_grad(In<T> x, OptIn<T> weight, OptIn<T> gamma, In<T> mean, In<T> rstd, In<T> dy, Out<T> dx,
                     Out<T> dgamma, Out<T> dbeta, dim rows, dim channels) {
    const double* totals =
        column_sums<2, T>(rows, channels, [&](dim r, auto columns, vec<T>(&s)[2]) __attribute__((always_inline)) {
            const vec<T> g = columns.load(dy + r * channels);
            s[0] += g;
            s[1] = fma(g, columns.load(x + r * channels) - columns.load(mean), s[1]);
        });
    double count = static_cast<double>(rows);
    if (weight) {
        count = 0;
        for (dim r = 0; r < rows; ++r) count += static_cast<double>(weight[r]);
    }
    // dx = a dy - w (b + d (x - mean)), per channel.
    auto* a = scratch<T>(Slot::channel_scales, 3 * channels);
    T *b = a + channels, *d = b + channels;
    for (dim c = 0; c < channels; ++c) {
        const double r = rstd[c], sum_xhat = totals[channels + c] * r, scale = gamma ? gamma[c] * r : r;
        dbeta[c] = static_cast<T>(totals[c]);
        dgamma[c] = static_cast<T>(sum_xhat);
        a[c] = static_cast<T>(scale);
        b[c] = static_cast<T>(count > 0 ? scale * totals[c] / count : 0);
        d[c] = static_cast<T>(count > 0 ? scale * r * sum_xhat / count : 0);
    }
    each_cell<T>(rows, channels, [=](auto columns) __attribute__((always_inline)) {
        const vec<T> m = columns.load(mean), va = columns.load(a), vb = columns.load(b), vd = columns.load(d);
        return [=](dim r) __attribute__((always_inline)) {
            vec<T> back = fma(vd, columns.load(x + r * channels) - m, vb);
            if (weight) back = back * splat(weight[r]);
            columns.store(dx + r * channels, va * columns.load(dy + r * channels) - back);
        };
    });
}

// With given statistics (inference), in two steps: what belongs to channels is computed once, the rows are one by one.
template <class T>
void reciprocal_deviation(In<T> variance, Out<double> rstd, dim channels, real epsilon) {
    for (dim c = 0; c < channels; ++c) rstd[c] = 1 / __builtin_sqrt(variance[c] + epsilon);
}
template <class T>
void normalize_channels(In<T> x, In<T> mean, In<double> rstd, OptIn<T> gamma, OptIn<T> beta, Out<T> y, dim rows,
                        dim channels) {
    normalize_columns<T>(x, mean, rstd.ptr, gamma, beta, y, rows, channels);
}

// dx = dy gamma rstd, dbeta = sum dy, dgamma = sum dy xhat, dmean = -gamma rstd dbeta, dvariance = -gamma rstd^2 dgamma / 2.
template <class T>
void batch_norm_fixed_grad(In<T> x, In<T> mean, In<T> variance, OptIn<T> gamma, In<T> dy, Out<T> dx, Out<T> dmean,
                           Out<T> dvariance, Out<T> dgamma, Out<T> dbeta, dim rows, dim channels, real epsilon) {
    const double* totals =
        column_sums<2, T>(rows, channels, [&](dim r, auto columns, vec<T>(&s)[2]) __attribute__((always_inline)) {
            const vec<T> g = columns.load(dy + r * channels);
            s[0] += g;
            s[1] = fma(g, columns.load(x + r * channels) - columns.load(mean), s[1]);
        });
    auto* scale = scratch<T>(Slot::channel_scales, channels);
    for (dim c = 0; c < channels; ++c) {
        const double r = 1 / __builtin_sqrt(variance[c] + epsilon), a = gamma ? gamma[c] * r : r;
        dbeta[c] = static_cast<T>(totals[c]);
        dgamma[c] = static_cast<T>(totals[channels + c] * r);
        dmean[c] = static_cast<T>(-a * totals[c]);
        dvariance[c] = static_cast<T>(-0.5 * a * r * r * totals[channels + c]);
        scale[c] = static_cast<T>(a);
    }
    each_cell<T>(rows, channels, [=](auto columns) __attribute__((always_inline)) {
        const vec<T> a = columns.load(scale);
        return [=](dim r) __attribute__((always_inline)) {
            columns.store(dx + r * channels, columns.load(dy + r * channels) * a);
        };
    });
}

// The sum over a row of n values of f(offset, live lanes, lanes that count), q quantities; the lanes past n are masked
// by f's use of load_upto (zeros).
template <int count, class T, class F>
PYDL_INLINE void sum_row(dim n, double (&out)[count], const F& f) {
    vec<T> sum[4][count] = {};
    dim c = 0;
    for (; c + 4 * lanes<T> <= n; c += 4 * lanes<T>)
        PYDL_UNROLL for (dim k = 0; k < 4; ++k) f(c + k * lanes<T>, lanes<T>, sum[k]);
    for (; c < n; c += lanes<T>) f(c, least(lanes<T>, n - c), sum[0]);
    PYDL_UNROLL for (int q = 0; q < count; ++q) out[q] =
        static_cast<double>(horizontal_sum((sum[0][q] + sum[1][q]) + (sum[2][q] + sum[3][q])));
}

// Layer normalisation (Ba, Kiros, Hinton 2016): each row of x (rows, features) to mean 0 and variance 1, times gamma
// (features) plus beta (features). centred = 0: RMS normalisation (Zhang and Sennrich 2019), mean is taken as 0.
// mean, rstd (rows) are for the gradient.
template <class T>
void layer_norm(In<T> x, OptIn<T> gamma, OptIn<T> beta, Out<T> y, Out<T> mean, Out<T> rstd, dim rows, dim features,
                dim centred, real epsilon) {
    parallel_for(rows, most(stream_task / 2 / most(features, dim{1}), dim{1}), [&](dim begin, dim end) {
        for (dim r = begin; r < end; ++r) {
            const T* in = x + r * features;
            T* out = y + r * features;
            double m[1] = {0}, d[1];
            if (centred) {
                sum_row<1, T>(features, m, [&](dim c, dim live, vec<T>(&s)[1]) __attribute__((always_inline)) {
                    s[0] += load_upto(in + c, live);
                });
                m[0] /= static_cast<double>(features);
            }
            const auto centre = splat(static_cast<T>(m[0]));
            sum_row<1, T>(features, d, [&](dim c, dim live, vec<T>(&s)[1]) __attribute__((always_inline)) {
                const vec<T> v = load_or(in + c, live, centre[0]) - centre;
                s[0] = fma(v, v, s[0]);
            });
            const double inverse = 1 / __builtin_sqrt(d[0] / static_cast<double>(features) + epsilon);
            mean[r] = static_cast<T>(m[0]);
            rstd[r] = static_cast<T>(inverse);
            const auto scale = splat(static_cast<T>(inverse));
            Run<T>{features}.each([&](dim c, dim live) __attribute__((always_inline)) {
                vec<T> v = (load_upto(in + c, live) - centre) * scale;
                if (gamma) v = v * load_upto(gamma + c, live);
                if (beta) v = v + load_upto(beta + c, live);
                store_upto(out + c, v, live);
            });
        }
    });
}

// With g = dy gamma: dx = rstd (g - mean(g) - xhat mean(g xhat)), without mean(g) where not centred;
// dgamma = sum over rows of dy xhat, dbeta = sum of dy (null: not wanted). A row's part of these is added while the row
// is in L1, to sums of T that go to double every layer_block rows.
// (A second pass of column_sums instead: 4096x512 1153 us -> 716 on one thread. Rows shorter than a register lose:
// 4096x10 50 -> 67, a masked store is not forwarded to the next row's load.)
constexpr dim layer_block = 64;
template <class T>
void layer_norm_grad(In<T> x, OptIn<T> gamma, In<T> mean, In<T> rstd, In<T> dy, Out<T> dx, OptOut<T> dgamma,
                     OptOut<T> dbeta, dim rows, dim features, dim centred) {
    const double share = 1 / static_cast<double>(most(features, dim{1}));
    const ColumnPartition p(rows, features);
    const dim width = 2 * features, stride = dgamma || dbeta ? 2 * width : 0;  // dbeta, dgamma; room for those of T
    auto* partial = scratch<double>(Slot::partial_sums, most(p.tasks, dim{1}) * stride);
    for (dim i = 0; i < stride; ++i) partial[i] = 0;
    parallel_for(rows, p.task, [&](dim begin, dim end) {
        double* mine = partial + begin / p.task * stride;
        auto* sum = reinterpret_cast<T*>(mine + width);
        for (dim i = 0; i < stride; ++i) mine[i] = 0;
        for (dim r = begin; r < end; ++r) {
            const T *in = x + r * features, *dout = dy + r * features;
            T* din = dx + r * features;
            const auto centre = splat(mean[r]), scale = splat(rstd[r]);
            const auto g = [&](dim c, dim live) __attribute__((always_inline)) {
                const vec<T> v = load_upto(dout + c, live);
                return gamma ? v * load_upto(gamma + c, live) : v;
            };
            double sums[2];
            sum_row<2, T>(features, sums, [&](dim c, dim live, vec<T>(&s)[2]) __attribute__((always_inline)) {
                const vec<T> v = g(c, live);
                s[0] += v;
                s[1] = fma(v, (load_upto(in + c, live) - centre) * scale, s[1]);
            });
            const auto a = splat(static_cast<T>(centred ? sums[0] * share : 0)),
                       b = splat(static_cast<T>(sums[1] * share));
            Run<T>{features}.each([&](dim c, dim live) __attribute__((always_inline)) {
                const vec<T> xhat = (load_upto(in + c, live) - centre) * scale;
                store_upto(din + c, (g(c, live) - a - xhat * b) * scale, live);
                if (stride) {
                    const vec<T> v = load_upto(dout + c, live);
                    store_upto(sum + c, load_upto(sum + c, live) + v, live);
                    store_upto(sum + features + c, fma(v, xhat, load_upto(sum + features + c, live)), live);
                }
            });
            if (stride && ((r + 1 - begin) % layer_block == 0 || r + 1 == end))
                for (dim i = 0; i < width; ++i) {
                    mine[i] += static_cast<double>(sum[i]);
                    sum[i] = 0;
                }
        }
    });
    if (!stride) return;
    for (dim t = 1; t < p.tasks; ++t)
        for (dim i = 0; i < width; ++i) partial[i] += partial[t * stride + i];
    for (dim c = 0; c < features; ++c) {
        if (dbeta) dbeta[c] = static_cast<T>(partial[c]);
        if (dgamma) dgamma[c] = static_cast<T>(partial[features + c]);
    }
}

}  // namespace
}  // namespace pydl::PYDL_ISA
