// Normalisation: over the rows of (rows, channels) (batch), over the features of (rows, features) (layer, RMS).
// Sums run in T over blocks that fit in L1 and go from block to block in double; blocks and tasks are cut by size
// alone. Variances are two passes within a block (the second one finds it in L1), blocks are joined by Chan's rule.
#pragma once
#include "base/memory.h"
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

// The sum over rows of the vector(s) f(row), with four partial sums: out[q] for the quantity q of f(row, q).
template <int count, class T, class F>
PYDL_INLINE void sum_rows(dim rows, vec<T> (&out)[count], const F& f) {
    vec<T> sum[4][count] = {};
    dim r = 0;
    for (; r + 4 <= rows; r += 4)
        for (dim k = 0; k < 4; ++k) f(r + k, sum[k]);
    for (; r < rows; ++r) f(r, sum[0]);
    for (int q = 0; q < count; ++q) out[q] = (sum[0][q] + sum[1][q]) + (sum[2][q] + sum[3][q]);
}

// totals[q][c] = sum over rows of quantity q, in double: f(first element's offset, live lanes, row, sums) adds row's.
// totals (count, channels) and the partial sums lie in scratch slot 1 of the caller.
template <int count, class T, class F>
double* column_sums(dim rows, dim channels, const F& f) {
    const ColumnPartition p(rows, channels);
    const dim width = count * channels;
    auto* partial =
        static_cast<double*>(scratch(1, static_cast<std::size_t>(most(p.tasks, dim{1}) * width) * sizeof(double)));
    if (p.tasks == 0)
        for (dim i = 0; i < width; ++i) partial[i] = 0;
    parallel_for(rows, p.task, [&](dim begin, dim end) {
        double* mine = partial + begin / p.task * width;
        for (dim i = 0; i < width; ++i) mine[i] = 0;
        for (dim b = begin; b < end; b += p.block) {
            const dim block_rows = least(p.block, end - b);
            for (dim c = 0; c < channels; c += lanes<T>) {
                const dim live = least(lanes<T>, channels - c);
                vec<T> sums[count];
                sum_rows<count, T>(block_rows, sums, [&](dim r, vec<T>(&s)[count]) __attribute__((always_inline)) {
                    f(b + r, c, live, s);
                });
                for (int q = 0; q < count; ++q)
                    for (dim k = 0; k < live; ++k) mine[q * channels + c + k] += static_cast<double>(sums[q][k]);
            }
        }
    });
    for (dim t = 1; t < p.tasks; ++t)
        for (dim i = 0; i < width; ++i) partial[i] += partial[t * width + i];
    return partial;
}

// Mean and sum of squared deviations of each column, rows weighted by `weight` (null: all 1). Lies in scratch slot 1:
// mean (channels), deviation (channels); returns the sum of the weights.
template <class T>
double column_moments(const T* x, const T* weight, dim rows, dim channels, double*& mean, double*& deviation) {
    const ColumnPartition p(rows, channels);
    const dim width = 2 * channels + 1;  // means, deviations, weight
    auto* partial =
        static_cast<double*>(scratch(1, static_cast<std::size_t>(most(p.tasks, dim{1}) * width) * sizeof(double)));
    mean = partial;
    deviation = partial + channels;
    for (dim i = 0; i < width; ++i) partial[i] = 0;
    // Joins a block's (n_b, mean_b, deviation_b) into a running triple (Chan, Golub, LeVeque 1983).
    const auto join = [](auto n, auto nb, auto& m, auto& d, auto mb, auto db) __attribute__((always_inline)) {
        if (nb <= 0) return;
        const double delta = mb - m, share = nb / (n + nb);
        m += delta * share;
        d += db + delta * delta * n * share;
    };
    parallel_for(rows, p.task, [&](dim begin, dim end) {
        double* mine = partial + begin / p.task * width;
        for (dim i = 0; i < width; ++i) mine[i] = 0;
        for (dim b = begin; b < end; b += p.block) {
            const dim n = least(p.block, end - b);
            double total = static_cast<double>(n);
            if (weight) {
                total = 0;
                for (dim r = 0; r < n; ++r) total += static_cast<double>(weight[b + r]);
            }
            const T inverse = static_cast<T>(total > 0 ? 1 / total : 0);
            for (dim c = 0; c < channels; c += lanes<T>) {
                const dim live = least(lanes<T>, channels - c);
                const T* at = x + b * channels + c;
                vec<T> sum[1], square[1];
                if (weight)
                    sum_rows<1, T>(n, sum, [&](dim r, vec<T>(&s)[1]) __attribute__((always_inline)) {
                        s[0] = fma(load_upto(at + r * channels, live), splat(weight[b + r]), s[0]);
                    });
                else
                    sum_rows<1, T>(n, sum, [&](dim r, vec<T>(&s)[1]) __attribute__((always_inline)) {
                        s[0] += load_upto(at + r * channels, live);
                    });
                const vec<T> centre = sum[0] * inverse;
                if (weight)
                    sum_rows<1, T>(n, square, [&](dim r, vec<T>(&s)[1]) __attribute__((always_inline)) {
                        const vec<T> d = load_upto(at + r * channels, live) - centre;
                        s[0] = fma(d * d, splat(weight[b + r]), s[0]);
                    });
                else
                    sum_rows<1, T>(n, square, [&](dim r, vec<T>(&s)[1]) __attribute__((always_inline)) {
                        const vec<T> d = load_upto(at + r * channels, live) - centre;
                        s[0] = fma(d, d, s[0]);
                    });
                for (dim k = 0; k < live; ++k)
                    join(mine[2 * channels], total, mine[c + k], mine[channels + c + k], static_cast<double>(centre[k]),
                         static_cast<double>(square[0][k]));
            }
            mine[2 * channels] += total;
        }
    });
    for (dim t = 1; t < p.tasks; ++t) {
        const double* part = partial + t * width;
        for (dim c = 0; c < channels; ++c)
            join(partial[2 * channels], part[2 * channels], mean[c], deviation[c], part[c], part[channels + c]);
        partial[2 * channels] += part[2 * channels];
    }
    return partial[2 * channels];
}

// f(row, channel, live) for every register of (rows, channels), in parallel.
template <class T, class F>
PYDL_INLINE void each_cell(dim rows, dim channels, const F& f) {
    parallel_for(rows, most(stream_task / most(channels, dim{1}), dim{1}), [&](dim begin, dim end) {
        for (dim r = begin; r < end; ++r) {
            dim c = 0;
            for (; c + lanes<T> <= channels; c += lanes<T>) f(r, c, lanes<T>);
            if (c < channels) f(r, c, channels - c);
        }
    });
}

// y = (x - mean) rstd gamma + beta; x, y (rows, channels), the others (channels), gamma and beta may be null.
template <class T>
void normalize_columns(const T* x, const T* mean, const T* rstd, const T* gamma, const T* beta, T* y, dim rows,
                       dim channels) {
    auto* scale = static_cast<T*>(scratch(2, static_cast<std::size_t>(2 * channels) * sizeof(T)));
    T* shift = scale + channels;
    for (dim c = 0; c < channels; ++c) {
        scale[c] = gamma ? rstd[c] * gamma[c] : rstd[c];
        shift[c] = beta ? beta[c] : T(0);
    }
    each_cell<T>(rows, channels, [&](dim r, dim c, dim live) __attribute__((always_inline)) {
        const vec<T> d = load_upto(x + r * channels + c, live) - load_upto(mean + c, live);
        store_upto(y + r * channels + c, fma(d, load_upto(scale + c, live), load_upto(shift + c, live)), live);
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
    normalize_columns<T>(x, mean, rstd, gamma, beta, y, rows, channels);
}

// dbeta = sum dy, dgamma = sum dy xhat, dx = gamma rstd (dy - weight (dbeta + xhat dgamma) / count).
template <class T>
void batch_norm_grad(In<T> x, OptIn<T> weight, OptIn<T> gamma, In<T> mean, In<T> rstd, In<T> dy, Out<T> dx,
                     Out<T> dgamma, Out<T> dbeta, dim rows, dim channels) {
    const double* totals =
        column_sums<2, T>(rows, channels, [&](dim r, dim c, dim live, vec<T>(&s)[2]) __attribute__((always_inline)) {
            const vec<T> g = load_upto(dy + r * channels + c, live);
            s[0] += g;
            s[1] = fma(g, load_upto(x + r * channels + c, live) - load_upto(mean + c, live), s[1]);
        });
    double count = static_cast<double>(rows);
    if (weight) {
        count = 0;
        for (dim r = 0; r < rows; ++r) count += static_cast<double>(weight[r]);
    }
    // dx = a dy - w (b + d (x - mean)), per channel.
    auto* a = static_cast<T*>(scratch(2, static_cast<std::size_t>(3 * channels) * sizeof(T)));
    T *b = a + channels, *d = b + channels;
    for (dim c = 0; c < channels; ++c) {
        const double r = rstd[c], sum_xhat = totals[channels + c] * r, scale = gamma ? gamma[c] * r : r;
        dbeta[c] = static_cast<T>(totals[c]);
        dgamma[c] = static_cast<T>(sum_xhat);
        a[c] = static_cast<T>(scale);
        b[c] = static_cast<T>(count > 0 ? scale * totals[c] / count : 0);
        d[c] = static_cast<T>(count > 0 ? scale * r * sum_xhat / count : 0);
    }
    each_cell<T>(rows, channels, [&](dim r, dim c, dim live) __attribute__((always_inline)) {
        const dim at = r * channels + c;
        const vec<T> centred = load_upto(x + at, live) - load_upto(mean + c, live);
        vec<T> back = fma(load_upto(d + c, live), centred, load_upto(b + c, live));
        if (weight) back = back * splat(weight[r]);
        store_upto(dx + at, load_upto(a + c, live) * load_upto(dy + at, live) - back, live);
    });
}

// The same with given statistics (inference): y = (x - mean) / sqrt(variance + epsilon) gamma + beta.
template <class T>
void batch_norm_fixed(In<T> x, In<T> mean, In<T> variance, OptIn<T> gamma, OptIn<T> beta, Out<T> y, dim rows,
                      dim channels, real epsilon) {
    auto* rstd = static_cast<T*>(scratch(3, static_cast<std::size_t>(channels) * sizeof(T)));
    for (dim c = 0; c < channels; ++c) rstd[c] = static_cast<T>(1 / __builtin_sqrt(variance[c] + epsilon));
    normalize_columns<T>(x, mean, rstd, gamma, beta, y, rows, channels);
}

// dx = dy gamma rstd, dbeta = sum dy, dgamma = sum dy xhat, dmean = -gamma rstd dbeta, dvariance = -gamma rstd^2 dgamma / 2.
template <class T>
void batch_norm_fixed_grad(In<T> x, In<T> mean, In<T> variance, OptIn<T> gamma, In<T> dy, Out<T> dx, Out<T> dmean,
                           Out<T> dvariance, Out<T> dgamma, Out<T> dbeta, dim rows, dim channels, real epsilon) {
    const double* totals =
        column_sums<2, T>(rows, channels, [&](dim r, dim c, dim live, vec<T>(&s)[2]) __attribute__((always_inline)) {
            const vec<T> g = load_upto(dy + r * channels + c, live);
            s[0] += g;
            s[1] = fma(g, load_upto(x + r * channels + c, live) - load_upto(mean + c, live), s[1]);
        });
    auto* scale = static_cast<T*>(scratch(2, static_cast<std::size_t>(channels) * sizeof(T)));
    for (dim c = 0; c < channels; ++c) {
        const double r = 1 / __builtin_sqrt(variance[c] + epsilon), a = gamma ? gamma[c] * r : r;
        dbeta[c] = static_cast<T>(totals[c]);
        dgamma[c] = static_cast<T>(totals[channels + c] * r);
        dmean[c] = static_cast<T>(-a * totals[c]);
        dvariance[c] = static_cast<T>(-0.5 * a * r * r * totals[channels + c]);
        scale[c] = static_cast<T>(a);
    }
    each_cell<T>(rows, channels, [&](dim r, dim c, dim live) __attribute__((always_inline)) {
        const dim at = r * channels + c;
        store_upto(dx + at, load_upto(dy + at, live) * load_upto(scale + c, live), live);
    });
}

// The sum over a row of n values of f(offset, live lanes, lanes that count), q quantities; the lanes past n are masked
// by f's use of load_upto (zeros).
template <int count, class T, class F>
PYDL_INLINE void sum_row(dim n, double (&out)[count], const F& f) {
    vec<T> sum[4][count] = {};
    dim c = 0;
    for (; c + 4 * lanes<T> <= n; c += 4 * lanes<T>)
        for (dim k = 0; k < 4; ++k) f(c + k * lanes<T>, lanes<T>, sum[k]);
    for (; c < n; c += lanes<T>) f(c, least(lanes<T>, n - c), sum[0]);
    for (int q = 0; q < count; ++q)
        out[q] = static_cast<double>(horizontal_sum((sum[0][q] + sum[1][q]) + (sum[2][q] + sum[3][q])));
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
            for (dim c = 0; c < features; c += lanes<T>) {
                const dim live = features - c;
                vec<T> v = (load_upto(in + c, live) - centre) * scale;
                if (gamma) v = v * load_upto(gamma + c, live);
                if (beta) v = v + load_upto(beta + c, live);
                store_upto(out + c, v, live);
            }
        }
    });
}

// With g = dy gamma: dx = rstd (g - mean(g) - xhat mean(g xhat)), without mean(g) where not centred;
// dgamma = sum over rows of dy xhat, dbeta = sum of dy (null: not wanted).
template <class T>
void layer_norm_grad(In<T> x, OptIn<T> gamma, In<T> mean, In<T> rstd, In<T> dy, Out<T> dx, OptOut<T> dgamma,
                     OptOut<T> dbeta, dim rows, dim features, dim centred) {
    const double share = 1 / static_cast<double>(most(features, dim{1}));
    parallel_for(rows, most(stream_task / 2 / most(features, dim{1}), dim{1}), [&](dim begin, dim end) {
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
            for (dim c = 0; c < features; c += lanes<T>) {
                const dim live = features - c;
                const vec<T> xhat = (load_upto(in + c, live) - centre) * scale;
                store_upto(din + c, (g(c, live) - a - xhat * b) * scale, live);
            }
        }
    });
    if (!dgamma && !dbeta) return;
    const double* totals =
        column_sums<2, T>(rows, features, [&](dim r, dim c, dim live, vec<T>(&s)[2]) __attribute__((always_inline)) {
            const vec<T> v = load_upto(dy + r * features + c, live);
            s[0] += v;
            s[1] = fma(v, (load_upto(x + r * features + c, live) - splat(mean[r])) * splat(rstd[r]), s[1]);
        });
    for (dim c = 0; c < features; ++c) {
        if (dbeta) dbeta[c] = static_cast<T>(totals[c]);
        if (dgamma) dgamma[c] = static_cast<T>(totals[features + c]);
    }
}

}  // namespace
}  // namespace pydl::PYDL_ISA
