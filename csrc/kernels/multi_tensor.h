// Passes over many tensors in one launch, for the optimizers: traversal, accumulation, averages, norms, penalties.
//
// Lists run over the tensors: xs[i] has sizes[i] elements. iteration (1,) is the number of finished calls of the
// optimizer; with gradient accumulation the update rule acts in every `every`-th call only.
#pragma once
#include "base/parallel.h"
#include "base/types.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace pydl::PYDL_ISA {
namespace {

// Elements per chunk: 10 to 15 microseconds of Adam in cache.
constexpr dim update_grain = 16384;

// --------------------------------------------------------------------------------------- traversal

// One register of a tensor, whole or its last few lanes.
template <class T>
struct Whole {
    dim k;
    PYDL_INLINE vec<T> load(const T* p) const { return pydl::PYDL_ISA::load(p + k); }
    PYDL_INLINE void store(T* p, vec<T> v) const { pydl::PYDL_ISA::store(p + k, v); }
};
template <class T>
struct Rest {
    dim k, left;
    PYDL_INLINE vec<T> load(const T* p) const { return load_partial(p + k, left); }
    PYDL_INLINE void store(T* p, vec<T> v) const { store_partial(p + k, v, left); }
};

// f(at) over the registers of elements [begin, end).
template <class T, class F>
PYDL_INLINE void each_register(dim begin, dim end, F f) {
    dim k = begin;
    for (; k + lanes<T> <= end; k += lanes<T>) f(Whole<T>{k});
    if (k < end) f(Rest<T>{k, end - k});
}

// f(i, begin, end): pieces of the tensors that together cover the concatenation of all, cut at fixed places.
template <class F>
PYDL_INLINE void each_piece(Dims sizes, F f) {
    dim total = 0;
    for (dim i = 0; i < sizes.size(); ++i) total += sizes[i];
    parallel_for(total, update_grain, [=](dim begin, dim end) {
        dim start = 0;  // of tensor i in the concatenation
        for (dim i = 0; start < end; start += sizes[i++]) {
            const dim low = begin > start ? begin - start : 0;
            const dim high = end - start < sizes[i] ? end - start : sizes[i];
            if (low < high) f(i, low, high);
        }
    });
}

// f(i, begin, end, block): blocks of at most update_grain elements, none across two tensors; for reductions.
template <class F>
PYDL_INLINE void each_block(Dims sizes, F f) {
    dim blocks = 0, total = 0;
    for (dim i = 0; i < sizes.size(); ++i) {
        blocks += (sizes[i] + update_grain - 1) / update_grain;
        total += sizes[i];
    }
    // Small tensors: all blocks in one chunk; the result per block is the same.
    const dim grain = total <= update_grain ? blocks : 1;
    parallel_for(blocks, grain, [=](dim first, dim last) {
        dim block = 0;
        for (dim i = 0; block < last; ++i)
            for (dim begin = 0; begin < sizes[i]; begin += update_grain, ++block)
                if (block >= first && block < last)
                    f(i, begin, begin + update_grain < sizes[i] ? begin + update_grain : sizes[i], block);
    });
}

// Whether a rule acts in this call.
PYDL_INLINE bool is_due(const std::int64_t* iteration, dim every) { return iteration[0] % every == every - 1; }
// How often rules will have acted after this call, if they act in it. (The largest iteration wraps.)
PYDL_INLINE std::int64_t step_number(const std::int64_t* iteration, dim every) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(iteration[0] / every) + 1);
}

PYDL_INLINE double root(double x) { return __builtin_sqrt(x); }

template <class T>
PYDL_INLINE vec<T> real_splat(double x) {
    return splat(static_cast<T>(x));
}

// ---------------------------------------------------------------------------------- around the rules

// iteration (1,) += 1: once per call of the optimizer, whatever the number of tensors and dtypes.
template <class T>
void advance(InOut<T> iteration) {
    iteration[0] = static_cast<T>(static_cast<wrapping<T>>(iteration[0]) + 1);
}

// out = clip(scale * grad): the gradients as rules written in Python see them.
template <class T>
void prepare_gradients(List<In<T>> grads, List<Out<T>> out, Dims sizes, OptIn<T> scales, real clip) {
    const vec<T> limit = splat(static_cast<T>(clip));
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        const T* g = grads[i];
        T* y = out[i];
        const vec<T> scale = splat(scales.ptr ? scales[i] : T{1});
        each_register<T>(begin, end, [=](auto at) __attribute__((always_inline)) {
            at.store(y, min(limit, max(-limit, at.load(g) * scale)));
        });
    });
}

// w -= w * decay * learning_rate where decays[i], for rules written in Python.
template <class T>
void decay_weights(List<InOut<T>> params, Dims sizes, Dims decays, In<T> learning_rate, real decay) {
    const vec<T> loss = splat(static_cast<T>(-learning_rate[0] * decay));
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        if (!decays[i]) return;
        T* w = params[i];
        each_register<T>(begin, end, [=](auto at) __attribute__((always_inline)) {
            const vec<T> weight = at.load(w);
            at.store(w, fma(weight, loss, weight));
        });
    });
}

// total += scale * grad.
template <class T>
void accumulate(List<In<T>> grads, List<InOut<T>> totals, Dims sizes, real scale) {
    const vec<T> factor = real_splat<T>(scale);
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        T* y = totals[i];
        const T* g = grads[i];
        each_register<T>(begin, end, [=](auto at) __attribute__((always_inline)) {
            at.store(y, fma(at.load(g), factor, at.load(y)));
        });
    });
}

// total = 0 in the call in which the rule acted.
template <class T>
void clear_accumulated(List<InOut<T>> totals, Dims sizes, In<std::int64_t> iteration, dim every) {
    if (!is_due(iteration, every)) return;
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        T* y = totals[i];
        each_register<T>(begin, end, [=](auto at) __attribute__((always_inline)) { at.store(y, vec<T>{}); });
    });
}

// y = x, for values that a rule written in Python may have to give back.
template <class T>
void copy_values(List<In<T>> xs, List<Out<T>> ys, Dims sizes) {
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        __builtin_memcpy(ys[i].ptr + begin, xs[i].ptr + begin, static_cast<std::size_t>(end - begin) * sizeof(T));
    });
}

// value = saved unless the rule acted: undoes what a rule written in Python did in a call that only accumulates.
template <class T>
void restore_unless_due(List<InOut<T>> values, List<In<T>> saved, Dims sizes, In<std::int64_t> iteration, dim every) {
    if (is_due(iteration, every)) return;
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        __builtin_memcpy(values[i].ptr + begin, saved[i].ptr + begin,
                         static_cast<std::size_t>(end - begin) * sizeof(T));
    });
}

// average = momentum average + (1 - momentum) w, the first value being w itself; every `overwrite`-th step (0: never)
// w = average.
template <class T>
void update_averages(List<InOut<T>> params, List<InOut<T>> averages, Dims sizes, In<std::int64_t> iteration, dim every,
                     real momentum, dim overwrite) {
    const std::int64_t t = step_number(iteration, every);
    const vec<T> keep = real_splat<T>(t == 1 ? 0 : momentum), share = real_splat<T>(t == 1 ? 1 : 1 - momentum);
    const bool write_back = overwrite > 0 && t % overwrite == 0;
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        T* a = averages[i];
        T* w = params[i];
        each_register<T>(begin, end, [=](auto at) __attribute__((always_inline)) {
            const vec<T> average = fma(at.load(a), keep, share * at.load(w));
            at.store(a, average);
            if (write_back) at.store(w, average);
        });
    });
}

// ---------------------------------------------------------------------------------- norms and checks

// Four registers of partial sums: the additions of one chain take 4 cycles each.
template <class T, class F>
PYDL_INLINE double block_sum(dim begin, dim end, F f) {
    vec<T> s0 = {}, s1 = {}, s2 = {}, s3 = {};
    dim k = begin;
    for (; k + 4 * lanes<T> <= end; k += 4 * lanes<T>) {
        s0 = f(Whole<T>{k}, s0);
        s1 = f(Whole<T>{k + lanes<T>}, s1);
        s2 = f(Whole<T>{k + 2 * lanes<T>}, s2);
        s3 = f(Whole<T>{k + 3 * lanes<T>}, s3);
    }
    for (; k + lanes<T> <= end; k += lanes<T>) s0 = f(Whole<T>{k}, s0);
    if (k < end) s0 = f(Rest<T>{k, end - k}, s0);
    return static_cast<double>(horizontal_sum((s0 + s1) + (s2 + s3)));
}

// The sum of the blocks of all tensors, in their order.
PYDL_INLINE double fold_blocks(Dims sizes, const double* partials) {
    double total = 0;
    for (dim i = 0; i < sizes.size(); ++i)
        for (dim begin = 0; begin < sizes[i]; begin += update_grain) total += *partials++;
    return total;
}

// partials (blocks): the sum of squares of each block of each tensor; of floats without overflow.
template <class T>
PYDL_INLINE void square_sums(List<In<T>> xs, Dims sizes, double* partials) {
    // Squares of floats that float does not hold: a power of two goes out of the values, its square into the double.
    const auto scaled_sum = [=](dim i, dim begin, dim end, T unit) __attribute__((always_inline)) {
        const T* x = xs[i];
        const vec<T> scale = splat(1 / unit);
        const double sum = block_sum<T>(begin, end, [=](auto at, vec<T> s) __attribute__((always_inline)) {
            const vec<T> v = at.load(x) * scale;
            return fma(v, v, s);
        });
        return sum * static_cast<double>(unit) * static_cast<double>(unit);
    };
    each_block(sizes, [=](dim i, dim begin, dim end, dim block) {
        double sum = scaled_sum(i, begin, end, 1);
        if constexpr (sizeof(T) == 4) {
            if (sum > 1e38) sum = scaled_sum(i, begin, end, T(0x1p80));
            else if (sum < 1e-30 && sum >= 0) sum = scaled_sum(i, begin, end, T(0x1p-80));
        }
        partials[block] = sum;
    });
}

// norm (1,): the Euclidean norm of all tensors together. partials: scratch, one per block.
template <class T>
void global_norm(List<In<T>> xs, Dims sizes, Out<double> partials, Out<T> norm) {
    square_sums(xs, sizes, partials);
    norm[0] = static_cast<T>(root(fold_blocks(sizes, partials)));
}

// scales[i] = unscale * min(1, max_norm / norm): the norm of unscale * grads, of all tensors together (globally) or of
// tensor i. Globally, a norm that is not finite gives NaN, as in Keras.
template <class T>
void clip_scales(List<In<T>> grads, Dims sizes, Out<double> partials, Out<T> scales, real max_norm, real unscale,
                 dim globally) {
    square_sums(grads, sizes, partials);
    const auto scale_of = [=](double norm) __attribute__((always_inline)) {
        return unscale * (norm > max_norm ? max_norm / norm : 1);
    };
    if (globally) {
        const double norm = root(fold_blocks(sizes, partials)) * unscale;
        const T scale = static_cast<T>(scale_of(norm) + (norm - norm));
        for (dim i = 0; i < sizes.size(); ++i) scales[i] = scale;
        return;
    }
    const double* block = partials;
    for (dim i = 0; i < sizes.size(); ++i) {
        double total = 0;
        for (dim begin = 0; begin < sizes[i]; begin += update_grain) total += *block++;
        const double norm = root(total) * unscale;
        scales[i] = static_cast<T>(norm == norm ? scale_of(norm) : norm);
    }
}

// finite (1,): 1 when no element of any tensor is infinite or NaN. partials: scratch, one per block.
template <class T>
void all_finite(List<In<T>> xs, Dims sizes, Out<double> partials, Out<std::uint8_t> finite) {
    // x - x is 0 or NaN, and NaN stays in a sum.
    each_block(sizes, [=](dim i, dim begin, dim end, dim block) {
        const T* x = xs[i];
        partials[block] = block_sum<T>(begin, end, [=](auto at, vec<T> s) __attribute__((always_inline)) {
            const vec<T> v = at.load(x);
            return s + (v - v);
        });
    });
    finite[0] = fold_blocks(sizes, partials) == 0;
}

// penalty (1,) = sum over tensors of l1 sum|x| + l2 sum x^2.
template <class T>
void penalty(List<In<T>> xs, Dims sizes, Out<double> partials, Out<T> y, real l1, real l2) {
    each_block(sizes, [=](dim i, dim begin, dim end, dim block) {
        const T* x = xs[i];
        double sum = 0;
        if (l1 != 0)
            sum += l1 * block_sum<T>(begin, end, [=](auto at, vec<T> s) __attribute__((always_inline)) {
                       return s + abs(at.load(x));
                   });
        if (l2 != 0)
            sum += l2 * block_sum<T>(begin, end, [=](auto at, vec<T> s) __attribute__((always_inline)) {
                       const vec<T> v = at.load(x);
                       return fma(v, v, s);
                   });
        partials[block] = sum;
    });
    y[0] = static_cast<T>(fold_blocks(sizes, partials));
}

// dx = dy (l1 sign(x) + 2 l2 x).
template <class T>
void penalty_grad(List<In<T>> xs, Dims sizes, In<T> dy, List<Out<T>> dxs, real l1, real l2) {
    const vec<T> absolute = splat(static_cast<T>(dy[0] * l1)), square = splat(static_cast<T>(dy[0] * 2 * l2));
    each_piece(sizes, [=](dim i, dim begin, dim end) {
        const T* x = xs[i];
        T* dx = dxs[i];
        each_register<T>(begin, end, [=](auto at) __attribute__((always_inline)) {
            const vec<T> v = at.load(x), zero = {};
            const vec<T> slope = v > zero ? absolute : v < zero ? -absolute : zero;
            at.store(dx, fma(square, v, slope));
        });
    });
}

// x, y (steps, width): y_t = beta y_{t-1} + (1 - beta) x_t from y_{-1} = 0; corrected: divided by 1 - beta^(t + 1).
template <class T>
void ewma(In<T> x, Out<T> y, dim steps, dim width, real beta, dim corrected) {
    for (dim c = 0; c < width; ++c) {
        double average = 0, power_t = 1;
        for (dim t = 0; t < steps; ++t) {
            average = beta * average + (1 - beta) * static_cast<double>(x[t * width + c]);
            power_t *= beta;
            y[t * width + c] = static_cast<T>(corrected ? average / (1 - power_t) : average);
        }
    }
}

}  // namespace
}  // namespace pydl::PYDL_ISA
