// Random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). A block of four
// 32-bit words is a function of a key (the seed) and a counter, so every element has its numbers wherever and by
// whichever thread it is computed.
//   state (2): seed, counter. A kernel reads it when it runs and moves the counter past the blocks it uses.
// Uniform and integer draws have the same bits on every ISA level; normal draws only where fma rounds once.
#pragma once
#include "base/memory.h"
#include "kernels/rows.h"
#include "simd/trig.h"

namespace pydl::PYDL_ISA {
namespace {

using State = InOut<std::int64_t>;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr u32 philox_m0 = 0xD2511F53, philox_m1 = 0xCD9E8D57, philox_w0 = 0x9E3779B9, philox_w1 = 0xBB67AE85;
constexpr int philox_rounds = 10;

// The blocks of a register of counters, block i in 64-bit lane i; the upper halves of the words are garbage.
struct Blocks {
    vec<u64> word[4];
};
PYDL_INLINE Blocks philox(vec<u64> counter, u64 seed) {
    Blocks b = {{counter, counter >> 32, vec<u64>{}, vec<u64>{}}};
    u32 k0 = static_cast<u32>(seed), k1 = static_cast<u32>(seed >> 32);
    const auto m0 = splat(u64{philox_m0}), m1 = splat(u64{philox_m1});
    PYDL_UNROLL for (int r = 0; r < philox_rounds; ++r) {
        const auto p0 = mul_even_u32((vec<u32>)b.word[0], (vec<u32>)m0);
        const auto p1 = mul_even_u32((vec<u32>)b.word[2], (vec<u32>)m1);
        b.word[0] = (p1 >> 32) ^ b.word[1] ^ splat(u64{k0});
        b.word[1] = p1;
        b.word[2] = (p0 >> 32) ^ b.word[3] ^ splat(u64{k1});
        b.word[3] = p0;
        k0 += philox_w0;
        k1 += philox_w1;
    }
    return b;
}

// One block, for kernels that go element by element. `stream` and `attempt` are the counter's upper half: numbers
// for what an element needs beyond its first block.
struct Block {
    u32 word[4];
    // In [0, 1), 53 bits; `half` 0 or 1.
    PYDL_INLINE double uniform(int half) const {
        return static_cast<double>((u64{word[2 * half + 1]} << 32 | word[2 * half]) >> 11) * 0x1p-53;
    }
};
PYDL_INLINE Block philox(u64 counter, u64 seed, u32 stream, u32 attempt) {
    u32 c[4] = {static_cast<u32>(counter), static_cast<u32>(counter >> 32), attempt, stream};
    u32 k0 = static_cast<u32>(seed), k1 = static_cast<u32>(seed >> 32);
    PYDL_UNROLL for (int r = 0; r < philox_rounds; ++r) {
        const u64 p0 = u64{philox_m0} * c[0], p1 = u64{philox_m1} * c[2];
        c[0] = static_cast<u32>(p1 >> 32) ^ c[1] ^ k0;
        c[1] = static_cast<u32>(p1);
        c[2] = static_cast<u32>(p0 >> 32) ^ c[3] ^ k1;
        c[3] = static_cast<u32>(p0);
        k0 += philox_w0;
        k1 += philox_w1;
    }
    return {{c[0], c[1], c[2], c[3]}};
}

// Elements are numbered so that 16 blocks make a group on every ISA: of float, element 16 w + b of a group is word w
// of block b; of double, element 16 h + 8 odd + b / 2 is words 2 h, 2 h + 1 of block b.
constexpr dim group_blocks = 16;
template <class T>
constexpr dim group_size = group_blocks * 16 / static_cast<dim>(sizeof(T));

template <class T>
struct Pair {
    vec<uint_of<T>> a, b;
};

// f(at, bits, bits_b): registers of random bits for the elements from `at`, and from at + second<T>, of group g.
template <class T>
constexpr dim second = group_size<T> / 2;
template <class T, class F>
PYDL_INLINE void random_group(u64 first_block, u64 seed, const F& f) {
    constexpr dim L = lanes<u32>;
    for (dim j = 0; j < group_blocks; j += L) {
        const auto even = splat(first_block + static_cast<u64>(j)) + iota<u64>() * 2;
        const Blocks e = philox(even, seed), o = philox(even + 1, seed);
        const auto low = splat(u64{0xffffffff});
        if constexpr (sizeof(T) == 4) {
            vec<u32> w[4];
            PYDL_UNROLL for (int i = 0; i < 4; ++i) w[i] = (vec<u32>)((e.word[i] & low) | (o.word[i] << 32));
            f(j, w[0], w[2]);
            f(j + 16, w[1], w[3]);
        } else {
            f(j / 2, (e.word[0] & low) | (e.word[1] << 32), (e.word[2] & low) | (e.word[3] << 32));
            f(j / 2 + 8, (o.word[0] & low) | (o.word[1] << 32), (o.word[2] & low) | (o.word[3] << 32));
        }
    }
}

// The first of so many blocks, and moves the counter past them: kernels of several threads that draw from one state at
// the same time get different ones.
inline u64 take_blocks(State state, dim blocks) {
    return static_cast<u64>(__atomic_fetch_add(&state[1], static_cast<std::int64_t>(blocks), __ATOMIC_RELAXED));
}

// f(at, live, bits) for all n elements, in parallel, where bits are those of the `live` elements from `at`; and the
// same for pairs, f(at, live, at_b, live_b, bits, bits_b). live may be 0 or less.
template <class T, class F>
void each_pair(State state, dim n, dim task, const F& f) {
    const dim groups = ceil_div(n, group_size<T>);
    const u64 seed = static_cast<u64>(state[0]), counter = take_blocks(state, groups * group_blocks);
    parallel_for(groups, task / group_size<T>, [&](dim begin, dim end) {
        for (dim g = begin; g < end; ++g)
            random_group<T>(counter + static_cast<u64>(g * group_blocks), seed,
                            [&](dim at, auto a, auto b) __attribute__((always_inline)) {
                                const dim i = g * group_size<T> + at;
                                f(i, n - i, i + second<T>, n - i - second<T>, a, b);
                            });
    });
}
template <class T, class F>
void each_register(State state, dim n, dim task, const F& f) {
    each_pair<T>(state, n, task,
                 [&](dim at, dim live, dim at_b, dim live_b, auto a, auto b) __attribute__((always_inline)) {
                     if (live > 0) f(at, live, a);
                     if (live_b > 0) f(at_b, live_b, b);
                 });
}

// In [0, 1): as many of the upper bits as T has digits.
PYDL_INLINE vec<float> unit(vec<u32> bits) { return convert<float>((vec<std::int32_t>)(bits >> 8)) * 0x1p-24f; }
PYDL_INLINE vec<double> unit(vec<u64> bits) {  // as digits behind 1.: no level but AVX-512 converts 64-bit integers
    return bits_as<double>((bits >> 12) | splat(u64{0x3ff0000000000000})) - 1;
}
template <class T>
constexpr T unit_step = sizeof(T) == 4 ? 0x1p-24 : 0x1p-52;

// state = (seed, 0).
template <class T>
void random_seed(Out<std::int64_t> state, dim seed) {
    state[0] = seed;
    state[1] = 0;
}

// y (n), uniform in [low, high).
template <class T>
void random_uniform(State state, Out<T> y, dim n, real low, real high) {
    const auto l = splat(static_cast<T>(low)), h = splat(static_cast<T>(high));
    const auto span = splat(static_cast<T>(high - low));
    each_register<T>(state, n, stream_task, [&](dim at, dim live, auto bits) __attribute__((always_inline)) {
        const vec<T> v = fma(unit(bits), span, l);
        store_upto(y + at, select(v < h, v, l), live);  // rounding may have reached `high`
    });
}

// sin and cos of 2 pi u, u in [0, 1): quarters counted off, the remainder within pi/4.
template <class V>
PYDL_INLINE void sin_cos_turns(V u, V& s, V& c) {
    using T = lane_of<V>;
    const V shifted = u * 4 + format<T>::shift, x = (u * 4 - (shifted - format<T>::shift)) * T(1.5707963267948966);
    const V z = x * x;
    V sin_x, cos_x;
    if constexpr (sizeof(T) == 4) {
        sin_x = fma(z * x, poly(z, -0.16666667f, 0.00833333f, -0.00019839312f, 2.7181141e-06f), x);
        cos_x = fma(z * z, poly(z, 0.041666646f, -0.0013887367f, 2.4438379e-05f), 1 - T(0.5) * z);
    } else {
        sin_x = sin_reduced<1>(x);
        cos_x = cos_reduced<1>(x);
    }
    const auto quarter = bits_as<uint_of<T>>(shifted);
    const auto odd = (quarter & 1) != 0;
    const V a = select(odd, cos_x, sin_x), b = select(odd, sin_x, cos_x);
    s = select((quarter & 2) != 0, -a, a);
    c = select(((quarter + 1) & 2) != 0, -b, b);
}

// y (n), normal (Box and Muller 1958: two uniforms give two normals).
template <class T>
void random_normal(State state, Out<T> y, dim n, real mean, real stddev) {
    const auto m = splat(static_cast<T>(mean)), d = splat(static_cast<T>(stddev));
    each_pair<T>(state, n, exp_task,
                 [&](dim at, dim live, dim at_b, dim live_b, auto a, auto b) __attribute__((always_inline)) {
                     if (live <= 0) return;
                     const vec<T> radius = sqrt(log(unit(a) + unit_step<T>) * T(-2)) * d;
                     vec<T> s, c;
                     sin_cos_turns(unit(b), s, c);
                     store_upto(y + at, fma(radius, c, m), live);
                     if (live_b > 0) store_upto(y + at_b, fma(radius, s, m), live_b);
                 });
}

// y (n), normal within two standard deviations of the mean: the inverse of the distribution function. Between the
// bounds erfinv(v) / v is a smooth function of -log(1 - v^2); the polynomial is good to 4e-11.
template <class T>
void random_truncated_normal(State state, Out<T> y, dim n, real mean, real stddev) {
    const auto m = splat(static_cast<T>(mean)), d = splat(static_cast<T>(stddev * 1.4142135623730951));
    constexpr T bound = 0.9544997361036416;  // erf(sqrt(2))
    each_register<T>(state, n, exp_task, [&](dim at, dim live, auto bits) __attribute__((always_inline)) {
        const vec<T> v = (unit(bits) * 2 + (unit_step<T> - 1)) * bound, w = -log(fma(-v, v, splat(T(1))));
        const vec<T> x = v * poly(w, T(0.8862269254), T(0.2320136640), T(0.01154938151), T(-0.002335310795),
                                  T(-0.0001274804853), T(4.574397664e-05), T(2.828650068e-06), T(-1.471545141e-06),
                                  T(1.128083362e-07), T(4.783939330e-10));
        store_upto(y + at, fma(max(min(x, splat(T(1.4142135))), splat(T(-1.4142135))), d, m), live);
    });
}

// [0, range) from 64 random bits; bias below range / 2^64.
PYDL_INLINE u64 below(u64 range, u32 low, u32 high) {
    return static_cast<u64>(static_cast<unsigned __int128>(u64{high} << 32 | low) * range >> 64);
}

// f(i, block) for n elements with a block each, in parallel; more numbers for one of them: streams from 1.
template <class F>
void each_block(State state, dim n, dim task, const F& f) {
    const u64 seed = static_cast<u64>(state[0]), counter = take_blocks(state, n);
    parallel_for(n, task, [&](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) f(i, counter + static_cast<u64>(i), seed);
    });
}

// y (n), integers of [low, high), equally likely.
template <class T>
void random_integers(State state, Out<T> y, dim n, dim low, dim high) {
    const u64 range = static_cast<u64>(high) - static_cast<u64>(low);
    each_block(state, ceil_div(n, 2), 1024, [&](dim i, u64 counter, u64 seed) {
        const Block b = philox(counter, seed, 0, 0);
        PYDL_UNROLL for (int h = 0; h < 2; ++h) if (2 * i + h < n) y[2 * i + h] =
            static_cast<T>(static_cast<u64>(low) + below(range, b.word[2 * h], b.word[2 * h + 1]));
    });
}

// y (n): 0 .. n - 1 in random order (Fisher and Yates, from the end).
template <class T>
void random_permutation(State state, Out<T> y, dim n) {
    const u64 seed = static_cast<u64>(state[0]), counter = take_blocks(state, n / 2);
    for (dim i = 0; i < n; ++i) y[i] = static_cast<T>(i);
    Block b{};
    for (dim i = n - 1, k = 0; i > 0; --i, ++k) {
        if (k % 2 == 0) b = philox(counter + static_cast<u64>(k / 2), seed, 0, 0);
        const auto j = static_cast<dim>(below(static_cast<u64>(i + 1), b.word[k % 2 * 2], b.word[k % 2 * 2 + 1]));
        const T kept = y[i];
        y[i] = y[j];
        y[j] = kept;
    }
}

// y (n) = x scale + shift where mask, `dropped` elsewhere; mask (n rounded up to 64) is 0 with probability `rate`.
// Dropout: shift = dropped = 0. The mask costs a byte for each element and saves the backward pass drawing again.
template <class T>
void dropout(State state, In<T> x, Out<T> y, Out<std::uint8_t> mask, dim n, real rate, real scale, real shift,
             real dropped) {
    using U = uint_of<T>;
    constexpr real all = sizeof(T) == 4 ? 0x1p32 : 0x1p64;
    const real limit = rate * all;
    const auto threshold = splat(limit >= all ? static_cast<U>(-1) : static_cast<U>(limit));
    const auto a = splat(static_cast<T>(scale)), b = splat(static_cast<T>(shift)), d = splat(static_cast<T>(dropped));
    each_register<T>(state, n, stream_task / 2, [&](dim at, dim live, auto bits) __attribute__((always_inline)) {
        const auto kept = (::pydl::PYDL_ISA::mask<T>)(bits >= threshold);
        store_bool<T>(mask + at, kept);
        store_upto(y + at, select(kept, fma(load_upto(x + at, live), a, b), d), live);
    });
}

// mask (n, with room for whole registers): 0 with probability `rate`, else 1, from as many bits as `like` has.
template <class T>
void dropout_mask(State state, In<T>, Out<std::uint8_t> mask, dim n, real rate) {
    using U = uint_of<T>;
    constexpr real all = sizeof(T) == 4 ? 0x1p32 : 0x1p64;
    const real limit = rate * all;
    const auto threshold = splat(limit >= all ? static_cast<U>(-1) : static_cast<U>(limit));
    each_register<T>(state, n, stream_task / 2, [&](dim at, dim, auto bits) __attribute__((always_inline)) {
        store_bool<T>(mask + at, (::pydl::PYDL_ISA::mask<T>)(bits >= threshold));
    });
}

// dx (n) = dy scale where mask, 0 elsewhere.
template <class T>
void dropout_grad(In<std::uint8_t> mask, In<T> dy, Out<T> dx, dim n, real scale) {
    const auto a = splat(static_cast<T>(scale));
    parallel_for(n, stream_task, [&](dim begin, dim end) {
        for (dim i = begin; i < end; i += lanes<T>) {
            const dim live = end - i;
            const auto kept = load_bool<T>(mask + i);
            store_upto(dx + i, select(kept, load_upto(dy + i, live) * a, vec<T>{}), live);
        }
    });
}

// y (rows, samples): class numbers drawn with probabilities softmax(logits (rows, classes)).
template <class T>
void random_categorical(State state, In<T> logits, Out<std::int32_t> y, dim rows, dim classes, dim samples) {
    const u64 seed = static_cast<u64>(state[0]), counter = take_blocks(state, rows * samples);
    parallel_for(rows, most(dim{4096} / most(classes, dim{1}), dim{1}), [&](dim begin, dim end) {
        auto* sums = scratch<double>(Slot::class_sums, classes);
        for (dim r = begin; r < end; ++r) {
            const T* row = logits + r * classes;
            double top = row[0], sum = 0;
            for (dim k = 1; k < classes; ++k) top = most(top, static_cast<double>(row[k]));
            for (dim k = 0; k < classes; ++k) sums[k] = sum += __builtin_exp(static_cast<double>(row[k]) - top);
            for (dim s = 0; s < samples; ++s) {
                const u64 i = static_cast<u64>(r * samples + s);
                const double u = philox(counter + i, seed, 0, 0).uniform(0) * sum;
                dim low = 0, high = classes - 1;  // the first class whose sum exceeds u
                while (low < high) {
                    const dim middle = (low + high) / 2;
                    if (sums[middle] > u) high = middle;
                    else low = middle + 1;
                }
                y[r * samples + s] = static_cast<std::int32_t>(low);
            }
        }
    });
}

// One gamma variate of shape alpha and scale 1 (Marsaglia and Tsang 2000), by rejection on a stream of its own;
// alpha < 1 by the boost gamma(alpha) = gamma(alpha + 1) u^(1/alpha), in logarithms. Returns the logarithm.
inline double log_gamma_variate(double alpha, u64 counter, u64 seed, u32 stream) {
    if (!(alpha > 0)) return __builtin_nan("");
    double boost = 0;
    if (alpha < 1) {
        boost = __builtin_log(philox(counter, seed, stream, 0).uniform(0) + 0x1p-54) / alpha;
        alpha += 1;
    }
    const double d = alpha - 1.0 / 3, c = 1 / (3 * __builtin_sqrt(d));
    for (u32 attempt = 1;; ++attempt) {
        const Block b = philox(counter, seed, stream, 2 * attempt), e = philox(counter, seed, stream, 2 * attempt + 1);
        const double normal = __builtin_sqrt(-2 * __builtin_log(b.uniform(0) + 0x1p-54)) *
                              __builtin_cos(6.283185307179586 * b.uniform(1));
        const double v = 1 + c * normal;
        if (v <= 0) continue;
        const double v3 = v * v * v, u = e.uniform(0) + 0x1p-54;
        if (__builtin_log(u) < 0.5 * normal * normal + d - d * v3 + d * __builtin_log(v3))
            return __builtin_log(d * v3) + boost;
    }
}

// y (n): gamma variates of shape alpha (n) and scale 1; NaN where alpha is not positive.
template <class T>
void random_gamma(State state, In<T> alpha, Out<T> y, dim n) {
    each_block(state, n, 128, [&](dim i, u64 counter, u64 seed) {
        y[i] = static_cast<T>(__builtin_exp(log_gamma_variate(alpha[i], counter, seed, 1)));
    });
}

// a / (a + b) of two gamma variates, safe where both underflow.
inline double beta_variate(double alpha, double beta, u64 counter, u64 seed, u32 stream) {
    const double a = log_gamma_variate(alpha, counter, seed, stream);
    const double b = log_gamma_variate(beta, counter, seed, stream + 1);
    return 1 / (1 + __builtin_exp(b - a));
}

// y (n): beta variates of parameters alpha (n), beta (n).
template <class T>
void random_beta(State state, In<T> alpha, In<T> beta, Out<T> y, dim n) {
    each_block(state, n, 64, [&](dim i, u64 counter, u64 seed) {
        y[i] = static_cast<T>(beta_variate(alpha[i], beta[i], counter, seed, 1));
    });
}

// y (n): successes of counts (n) trials of probability p (n); NaN outside [0, 1]. Many trials are halved by the
// median of as many uniforms, a beta variate, until few enough are left to count (Devroye 1986, X.4.3).
template <class T>
void random_binomial(State state, In<T> counts, In<T> probabilities, Out<T> y, dim n) {
    each_block(state, n, 64, [&](dim i, u64 counter, u64 seed) {
        double trials = __builtin_floor(static_cast<double>(counts[i])), p = probabilities[i], successes = 0;
        if (!(p >= 0 && p <= 1 && trials >= 0 && trials < 0x1p53)) {
            y[i] = static_cast<T>(__builtin_nan(""));
            return;
        }
        u32 stream = 1;
        for (; trials > 32; stream += 2) {
            const double below_median = __builtin_floor(trials / 2) + 1;
            const double median = beta_variate(below_median, trials + 1 - below_median, counter, seed, stream);
            if (median <= p) {
                successes += below_median;
                trials -= below_median;
                p = (p - median) / (1 - median);
            } else {
                trials = below_median - 1;
                p = p / median;
            }
        }
        for (dim k = 0; k < static_cast<dim>(trials); ++k)
            successes += philox(counter, seed, 0, static_cast<u32>(k + 1)).uniform(0) < p;
        y[i] = static_cast<T>(successes);
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA
