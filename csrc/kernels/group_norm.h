// Group normalisation of channels-last data (batch, places, channels): the channels of a sample in groups, each brought
// to mean 0 and variance 1 over its channels and all places (Wu and He 2018). Lanes run over channels; what belongs to a
// group is put together from sums per channel.
#pragma once
#include "kernels/rows.h"

namespace pydl::PYDL_ISA {
namespace {

// Sums over the places of a sample, per channel, to out[q * channels + c]; f(offset, c, live lanes, sums) adds one place.
// In T over 64 places, then in double.
template <int count, class T, class F>
PYDL_INLINE void sum_places(dim places, dim channels, double* out, const F& f) {
    constexpr dim L = lanes<T>, block = 64;
    for (dim c = 0; c < channels; c += L) {
        const dim live = least(L, channels - c);
        double total[count][L] = {};
        for (dim first = 0; first < places; first += block) {
            vec<T> sum[count] = {};
            for (dim p = first; p < least(places, first + block); ++p) f(p * channels + c, c, live, sum);
            PYDL_UNROLL for (int q = 0; q < count; ++q) PYDL_UNROLL for (dim i = 0; i < L; ++i) total[q][i] +=
                static_cast<double>(sum[q][i]);
        }
        for (int q = 0; q < count; ++q)
            for (dim i = 0; i < live; ++i) out[q * channels + c + i] = total[q][i];
    }
}

// Each channel gets the sum over its group: of values[c] weight[c] (weight null: 1), times `factor`.
template <class T>
PYDL_INLINE void spread_over_groups(const double* values, const T* weight, dim channels, dim groups, double factor,
                                    T* out) {
    const dim width = channels / groups;
    for (dim g = 0; g < groups; ++g) {
        double sum = 0;
        for (dim c = g * width; c < (g + 1) * width; ++c)
            sum += values[c] * (weight ? static_cast<double>(weight[c]) : 1.0);
        for (dim c = g * width; c < (g + 1) * width; ++c) out[c] = static_cast<T>(sum * factor);
    }
}

// x (batch, places, channels) -> y; gamma, beta (channels) or null. mean, rstd (batch, channels), each group's value for
// all of its channels, are for the gradient.
template <class T>
void group_norm(In<T> x, OptIn<T> gamma, OptIn<T> beta, Out<T> y, Out<T> mean, Out<T> rstd, dim batch, dim places,
                dim channels, dim groups, real epsilon) {
    const dim size = places * channels;
    const double share = static_cast<double>(groups) / static_cast<double>(most(size, dim{1}));
    parallel_for(batch, most(stream_task / most(size, dim{1}), dim{1}), [=](dim begin, dim end) {
        auto* sums = scratch<double>(Slot::partial_sums, channels);
        for (dim n = begin; n < end; ++n) {
            const T* in = x + n * size;
            T *out = y + n * size, *centre = mean + n * channels, *scale = rstd + n * channels;
            sum_places<1, T>(places, channels, sums,
                             [=](dim at, dim, dim live, vec<T>(&s)[1])
                                 __attribute__((always_inline)) { s[0] += load_upto(in + at, live); });
            spread_over_groups<T>(sums, nullptr, channels, groups, share, centre);
            sum_places<1, T>(places, channels, sums,
                             [=](dim at, dim c, dim live, vec<T>(&s)[1]) __attribute__((always_inline)) {
                                 const vec<T> v = load_upto(in + at, live) - load_upto(centre + c, live);
                                 s[0] = fma(v, v, s[0]);
                             });
            spread_over_groups<T>(sums, nullptr, channels, groups, share, scale);
            for (dim c = 0; c < channels; ++c)
                scale[c] = static_cast<T>(1 / __builtin_sqrt(static_cast<double>(scale[c]) + epsilon));
            for (dim c = 0; c < channels; c += lanes<T>) {
                const dim live = least(lanes<T>, channels - c);
                const vec<T> m = load_upto(centre + c, live), r = load_upto(scale + c, live);
                const vec<T> a = gamma ? r * load_upto(gamma + c, live) : r;
                const vec<T> b = beta ? load_upto(beta + c, live) : vec<T>{};
                for (dim p = 0; p < size; p += channels)
                    store_upto(out + p + c, fma(load_upto(in + p + c, live) - m, a, b), live);
            }
        }
    });
}

// With g = dy gamma: dx = rstd (g - mean of g - xhat mean of g xhat), means over the group and all places;
// dgamma = sum of dy xhat, dbeta = sum of dy over samples and places (null: not wanted).
template <class T>
void group_norm_grad(In<T> x, OptIn<T> gamma, In<T> mean, In<T> rstd, In<T> dy, Out<T> dx, OptOut<T> dgamma,
                     OptOut<T> dbeta, dim batch, dim places, dim channels, dim groups) {
    const dim size = places * channels;
    const double share = static_cast<double>(groups) / static_cast<double>(most(size, dim{1}));
    // Per sample: the sums of dy, then of dy xhat, of each channel.
    auto* all = scratch<double>(Slot::partial_sums, 2 * batch * channels + 1);
    parallel_for(batch, most(stream_task / most(size, dim{1}), dim{1}), [=](dim begin, dim end) {
        auto* means = scratch<T>(Slot::channel_scales, 2 * channels);
        for (dim n = begin; n < end; ++n) {
            const T *in = x + n * size, *dout = dy + n * size, *centre = mean + n * channels;
            const T* scale = rstd + n * channels;
            T* din = dx + n * size;
            double* sums = all + 2 * n * channels;
            sum_places<2, T>(places, channels, sums,
                             [=](dim at, dim c, dim live, vec<T>(&s)[2]) __attribute__((always_inline)) {
                                 const vec<T> d = load_upto(dout + at, live);
                                 const vec<T> v = load_upto(in + at, live) - load_upto(centre + c, live);
                                 s[0] += d;
                                 s[1] = fma(d, v * load_upto(scale + c, live), s[1]);
                             });
            spread_over_groups<T>(sums, gamma, channels, groups, share, means);
            spread_over_groups<T>(sums + channels, gamma, channels, groups, share, means + channels);
            for (dim c = 0; c < channels; c += lanes<T>) {
                const dim live = least(lanes<T>, channels - c);
                const vec<T> m = load_upto(centre + c, live), r = load_upto(scale + c, live);
                const vec<T> a = load_upto(means + c, live), b = load_upto(means + channels + c, live);
                const vec<T> weight = gamma ? load_upto(gamma + c, live) : vec<T>{} + 1;
                for (dim p = c; p < size; p += channels) {
                    const vec<T> xhat = (load_upto(in + p, live) - m) * r;
                    store_upto(din + p, (load_upto(dout + p, live) * weight - a - xhat * b) * r, live);
                }
            }
        }
    });
    for (dim c = 0; c < channels; ++c) {
        double db = 0, dg = 0;
        for (dim n = 0; n < batch; ++n) {
            db += all[2 * n * channels + c];
            dg += all[(2 * n + 1) * channels + c];
        }
        if (dbeta) dbeta[c] = static_cast<T>(db);
        if (dgamma) dgamma[c] = static_cast<T>(dg);
    }
}

}  // namespace
}  // namespace pydl::PYDL_ISA
