// vec<T>: one register of T on the ISA this file is compiled for, on GCC/Clang vector extensions.
// + - * / comparisons (giving mask<T>) and ?: are the compiler's own; what it has no operator for is below.
// An intrinsic stands only where no other spelling gives the instruction. Included only by ISA objects.
#pragma once
#include "simd/half.h"
#include "simd/register.h"

namespace pydl::PYDL_ISA {
namespace {

// ---------------------------------------------------------------------------------------- memory

template <class T>
PYDL_INLINE vec<T> load(const T* p) {
    return *reinterpret_cast<const typename vec_of<T>::loose*>(p);
}
template <class T>
PYDL_INLINE void store(T* p, vec<T> v) {
    *reinterpret_cast<typename vec_of<T>::loose*>(p) = v;
}

template <class T>
PYDL_INLINE vec<T> splat(T x) {
    return x - vec<T>{};
}

// 0, 1, 2, ...
template <class T>
PYDL_INLINE vec<T> iota() {
    const auto fill = []<std::size_t... I>(std::index_sequence<I...>)
                          __attribute__((always_inline)) { return vec<T>{T(I)...}; };
    return fill(std::make_index_sequence<lanes<T>>{});
}

// All bits set in the first n lanes.
template <class T>
PYDL_INLINE mask<T> first_lanes(dim n) {
    return iota<int_of<T>>() < splat(static_cast<int_of<T>>(n));
}

// The first n lanes (0 <= n <= lanes); the rest of a load is zero, the rest of a store untouched.
// Memory past the n-th element is not accessed: a masked instruction on AVX2 and AVX-512, a loop elsewhere, and where
// AddressSanitizer is to see what is accessed.
template <class T>
PYDL_INLINE vec<T> load_partial(const T* p, dim n) {
#if defined(__SANITIZE_ADDRESS__)
#elif defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        const auto k = static_cast<__mmask16>((1u << n) - 1u);
        return (vec<T>)_mm512_maskz_loadu_epi32(k, p);
    } else if constexpr (sizeof(T) == 8) {
        const auto k = static_cast<__mmask8>((1u << n) - 1u);
        return (vec<T>)_mm512_maskz_loadu_epi64(k, p);
    }
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
        return (vec<T>)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), (__m256i)first_lanes<T>(n));
    } else if constexpr (sizeof(T) == 8) {
        return (vec<T>)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), (__m256i)first_lanes<T>(n));
    }
#endif
    vec<T> v = {};
    PYDL_UNROLL for (dim i = 0; i < lanes<T>; ++i) if (i < n) v[i] = p[i];
    return v;
}
template <class T>
PYDL_INLINE void store_partial(T* p, vec<T> v, dim n) {
#if defined(__SANITIZE_ADDRESS__)
#elif defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        const auto k = static_cast<__mmask16>((1u << n) - 1u);
        _mm512_mask_storeu_epi32(p, k, (__m512i)v);
        return;
    } else if constexpr (sizeof(T) == 8) {
        const auto k = static_cast<__mmask8>((1u << n) - 1u);
        _mm512_mask_storeu_epi64(p, k, (__m512i)v);
        return;
    }
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
        _mm256_maskstore_epi32(reinterpret_cast<int*>(p), (__m256i)first_lanes<T>(n), (__m256i)v);
        return;
    } else if constexpr (sizeof(T) == 8) {
        _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), (__m256i)first_lanes<T>(n), (__m256i)v);
        return;
    }
#endif
    PYDL_UNROLL for (dim i = 0; i < lanes<T>; ++i) if (i < n) p[i] = v[i];
}

// Narrow types: a register of what they are computed as. The bytes of a part go through a buffer.
PYDL_INLINE vec<half> load(const half* p) { return float_of(*reinterpret_cast<const halves_of_memory*>(p)); }
PYDL_INLINE void store(half* p, vec<half> v) { *reinterpret_cast<halves_of_memory*>(p) = halves_of(v); }
PYDL_INLINE vec<half> load_partial(const half* p, dim n) {
    half buffer[lanes<half>] = {};
    for (dim i = 0; i < n; ++i) buffer[i] = p[i];
    return load(buffer);
}
PYDL_INLINE void store_partial(half* p, vec<half> v, dim n) {
    half buffer[lanes<half>];
    store(buffer, v);
    for (dim i = 0; i < n; ++i) p[i] = buffer[i];
}

// One value as it is computed, and a number as it is stored, rounded once.
template <class T>
PYDL_INLINE compute<T> value_of(T x) {
    if constexpr (is_narrow<T>) return load_partial(&x, 1)[0];
    else return x;
}
template <class T>
PYDL_INLINE T stored_as(double x) {
    if constexpr (is_narrow<T>) {
        T y;
        store_partial(&y, vec<T>{round_to_odd(x)}, 1);
        return y;
    } else {
        return static_cast<T>(x);
    }
}

// As many lanes as are left: the one load and store a loop with a tail needs.
template <class T>
PYDL_INLINE vec<T> load_upto(const T* p, dim left) {
    return left >= lanes<T> ? load(p) : load_partial(p, left);
}
template <class T>
PYDL_INLINE void store_upto(T* p, vec<T> v, dim left) {
    if (left >= lanes<T>) store(p, v);
    else store_partial(p, v, left);
}

// A hint to bring the cache line of p near, for reading.
PYDL_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }

// --------------------------------------------------------------------------------- bits and lanes

// The same bits as lanes of U.
template <class U, class V>
PYDL_INLINE vec<U> bits_as(V v) {
    return (vec<U>)v;
}

// The value of each lane as U, U as wide as the lane. Floating to integer truncates; out of range and NaN
// are the instruction's business (x86: the smallest integer), so clamp first.
template <class U, class V>
PYDL_INLINE vec<U> convert(V v) {
    static_assert(sizeof(U) == sizeof(lane_of<V>));
    return __builtin_convertvector(v, vec<U>);
}

// m ? a : b, lane by lane.
template <class M, class V>
PYDL_INLINE V select(M m, V a, V b) {
    return m ? a : b;
}

// Keeps a loaded value in its register; the compiler would load it again for each of several uses as an operand.
template <class V>
PYDL_INLINE void hold(V& v) {
#if defined(__x86_64__)
    asm("" : "+v"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
}

// Lane i of the result is lane F(i) of a, b laid end to end; F is a lambda without captures.
template <class V, class F>
PYDL_INLINE V shuffle(V a, V b, F) {
    return [=]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
        return __builtin_shufflevector(a, b, F{}(static_cast<int>(I))...);
    }(std::make_index_sequence<sizeof(V) / sizeof(a[0])>{});
}

// Lane i of the result is lane index[i] of v, 0 <= index[i] < lanes.
template <class V>
PYDL_INLINE V permute(V v, vec<int_of<lane_of<V>>> index) {
#if defined(__clang__)
    V result = v;
    for (std::size_t i = 0; i < sizeof(V) / sizeof(v[0]); ++i) result[i] = v[index[i]];
    return result;
#else
    return __builtin_shuffle(v, index);
#endif
}

template <class V>
PYDL_INLINE short_vec<lane_of<V>, sizeof(V) / sizeof(lane_of<V>) / 2> low_half(V v) {
    return [=]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
        return __builtin_shufflevector(v, v, static_cast<int>(I)...);
    }(std::make_index_sequence<sizeof(V) / sizeof(v[0]) / 2>{});
}
template <class V>
PYDL_INLINE short_vec<lane_of<V>, sizeof(V) / sizeof(lane_of<V>) / 2> high_half(V v) {
    constexpr int half = sizeof(V) / sizeof(v[0]) / 2;
    return [=]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
        return __builtin_shufflevector(v, v, (half + static_cast<int>(I))...);
    }(std::make_index_sequence<half>{});
}

// A register of floats as two registers of doubles, and back.
struct wide {
    vec<double> low, high;
};
PYDL_INLINE wide widen(vec<float> v) {
    return {__builtin_convertvector(low_half(v), vec<double>), __builtin_convertvector(high_half(v), vec<double>)};
}
PYDL_INLINE vec<float> narrow(wide w) {
    constexpr dim half = lanes<double>;
    const auto low = __builtin_convertvector(w.low, short_vec<float, half>);
    const auto high = __builtin_convertvector(w.high, short_vec<float, half>);
    return [=]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
        return __builtin_shufflevector(low, high, static_cast<int>(I)...);
    }(std::make_index_sequence<lanes<float>>{});
}

// Booleans in memory are bytes 0 and 1: as many of them as T has lanes. (Through packs on AVX2 and SSE2, where
// the compiler would move byte by byte.)
template <class T>
PYDL_INLINE mask<T> load_bool(const std::uint8_t* p) {
    if constexpr (sizeof(T) == 1) return load(p) != 0;
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return (mask<T>)_mm512_maskz_cvtepu8_epi32(all16, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))) != 0;
    else if constexpr (sizeof(T) == 8)
        return (mask<T>)_mm512_maskz_cvtepu8_epi64(all8, _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))) != 0;
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
        return (mask<T>)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))) != 0;
    else if constexpr (sizeof(T) == 8) return (mask<T>)_mm256_cvtepu8_epi64(_mm_loadu_si32(p)) != 0;
#else
    using bytes = short_vec_of<std::uint8_t, lanes<T>>;
    const typename bytes::type b = *reinterpret_cast<const typename bytes::loose*>(p);
    return __builtin_convertvector(b, mask<T>) != 0;
#endif
}
template <class T>
PYDL_INLINE void store_bool(std::uint8_t* p, mask<T> m) {
    if constexpr (sizeof(T) == 1) {
        store(p, bits_as<std::uint8_t>(m & 1));
        return;
    }
#if defined(__x86_64__) && !defined(__AVX512F__)
    __m128i m32;  // the mask in lanes of 4 bytes
    if constexpr (PYDL_VECTOR_BYTES == 32) {
        const __m128i low = (__m128i)low_half(m), high = (__m128i)high_half(m);
        if constexpr (sizeof(T) == 4) m32 = _mm_packs_epi32(low, high);
        else m32 = (__m128i)_mm_shuffle_ps((__m128)low, (__m128)high, _MM_SHUFFLE(2, 0, 2, 0));
    } else {
        m32 = (__m128i)m;
        if constexpr (sizeof(T) == 8) m32 = _mm_shuffle_epi32(m32, _MM_SHUFFLE(2, 0, 2, 0));
    }
    __m128i m16 = m32;
    if constexpr (PYDL_VECTOR_BYTES == 16 || sizeof(T) == 8) m16 = _mm_packs_epi32(m32, m32);
    const __m128i m8 = _mm_and_si128(_mm_packs_epi16(m16, m16), _mm_set1_epi8(1));
    __builtin_memcpy(p, &m8, lanes<T>);
#else
    using bytes = short_vec_of<std::uint8_t, lanes<T>>;
    *reinterpret_cast<typename bytes::loose*>(p) = __builtin_convertvector(m & 1, typename bytes::type);
#endif
}

// ------------------------------------------------------------------------------------- arithmetic

// a * b + c rounded once (PYDL_FUSED), or twice where the ISA has no such instruction (baseline x86-64).
PYDL_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__) && PYDL_VECTOR_BYTES == 32
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}
PYDL_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_pd(a, b, c);
#elif defined(__FMA__) && PYDL_VECTOR_BYTES == 32
    return _mm256_fmadd_pd(a, b, c);
#elif defined(__aarch64__)
    return vfmaq_f64(c, a, b);
#else
    return a * b + c;
#endif
}
// The scalar twin, for tails: the same rounding as a lane of the above.
PYDL_INLINE float fma(float a, float b, float c) {
#if PYDL_FUSED
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
PYDL_INLINE double fma(double a, double b, double c) {
#if PYDL_FUSED
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}

PYDL_INLINE vec<float> sqrt(vec<float> v) {
#if defined(__AVX512F__)
    return _mm512_maskz_sqrt_ps(all16, v);
#elif defined(__AVX2__)
    return _mm256_sqrt_ps(v);
#elif defined(__x86_64__)
    return _mm_sqrt_ps(v);
#elif defined(__aarch64__)
    return vsqrtq_f32(v);
#endif
}
PYDL_INLINE vec<double> sqrt(vec<double> v) {
#if defined(__AVX512F__)
    return _mm512_maskz_sqrt_pd(all8, v);
#elif defined(__AVX2__)
    return _mm256_sqrt_pd(v);
#elif defined(__x86_64__)
    return _mm_sqrt_pd(v);
#elif defined(__aarch64__)
    return vsqrtq_f64(v);
#endif
}

// The smaller and the larger; the second operand where either is NaN (so a NaN in b wins, one in a is lost)
// and where both are zeros. One instruction on x86.
template <class V>
PYDL_INLINE V min(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (sizeof(lane_of<V>) == 4 && is_floating<lane_of<V>>)
        return (V)_mm512_maskz_min_ps(all16, (__m512)a, (__m512)b);
    else if constexpr (is_floating<lane_of<V>>) return (V)_mm512_maskz_min_pd(all8, (__m512d)a, (__m512d)b);
    else
#endif
        return a < b ? a : b;
}
template <class V>
PYDL_INLINE V max(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (sizeof(lane_of<V>) == 4 && is_floating<lane_of<V>>)
        return (V)_mm512_maskz_max_ps(all16, (__m512)a, (__m512)b);
    else if constexpr (is_floating<lane_of<V>>) return (V)_mm512_maskz_max_pd(all8, (__m512d)a, (__m512d)b);
    else
#endif
        return a > b ? a : b;
}
// NaN where either operand is NaN, as NumPy's minimum and maximum.
template <class V>
PYDL_INLINE V min_nan(V a, V b) {
    if constexpr (is_floating<lane_of<V>>) return a != a ? a : min(a, b);
    else return min(a, b);
}
template <class V>
PYDL_INLINE V max_nan(V a, V b) {
    if constexpr (is_floating<lane_of<V>>) return a != a ? a : max(a, b);
    else return max(a, b);
}

template <class T>
constexpr uint_of<T> sign_bit = uint_of<T>{1} << (8 * sizeof(T) - 1);

// The lanes as what they are added and multiplied as.
template <class V>
PYDL_INLINE vec<wrapping<lane_of<V>>> wrap(V v) {
    return bits_as<wrapping<lane_of<V>>>(v);
}

// |v|; an integer's smallest value stays itself.
template <class V>
PYDL_INLINE V abs(V v) {
    using T = lane_of<V>;
    if constexpr (is_floating<T>)
        return bits_as<T>(bits_as<uint_of<T>>(v) & splat(static_cast<uint_of<T>>(~sign_bit<T>)));
    else return bits_as<T>(v < 0 ? -wrap(v) : wrap(v));
}
// The magnitude of a with the sign of b (floating lanes).
template <class V>
PYDL_INLINE V copysign(V a, V b) {
    using T = lane_of<V>;
    const auto sign = splat(sign_bit<T>);
    return bits_as<T>((bits_as<uint_of<T>>(a) & ~sign) | (bits_as<uint_of<T>>(b) & sign));
}

// Adding and subtracting 2^(mantissa bits) rounds a magnitude below it to an integer, ties to even.
template <class V>
PYDL_INLINE V round_magnitude(V magnitude) {
    constexpr lane_of<V> shift = sizeof(lane_of<V>) == 4 ? 8388608.0 : 4503599627370496.0;
    return magnitude < shift ? (magnitude + shift) - shift : magnitude;
}
// To an integer: nearest (ties to even), toward minus infinity, plus infinity, zero. Zeros keep their sign;
// infinities and NaN stay.
template <class V>
PYDL_INLINE V round(V v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(lane_of<V>) == 4) return _mm512_maskz_roundscale_ps(all16, v, _MM_FROUND_TO_NEAREST_INT);
    else return _mm512_maskz_roundscale_pd(all8, v, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__AVX2__)
    if constexpr (sizeof(lane_of<V>) == 4) return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    else return _mm256_round_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__aarch64__)
    if constexpr (sizeof(lane_of<V>) == 4) return vrndnq_f32(v);
    else return vrndnq_f64(v);
#else
    return copysign(round_magnitude(abs(v)), v);
#endif
}
template <class V>
PYDL_INLINE V trunc(V v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(lane_of<V>) == 4) return _mm512_maskz_roundscale_ps(all16, v, _MM_FROUND_TO_ZERO);
    else return _mm512_maskz_roundscale_pd(all8, v, _MM_FROUND_TO_ZERO);
#elif defined(__AVX2__)
    if constexpr (sizeof(lane_of<V>) == 4) return _mm256_round_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    else return _mm256_round_pd(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#elif defined(__aarch64__)
    if constexpr (sizeof(lane_of<V>) == 4) return vrndq_f32(v);
    else return vrndq_f64(v);
#else
    const V nearest = round_magnitude(abs(v));
    return copysign(nearest > abs(v) ? nearest - 1 : nearest, v);
#endif
}
template <class V>
PYDL_INLINE V floor(V v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(lane_of<V>) == 4) return _mm512_maskz_roundscale_ps(all16, v, _MM_FROUND_TO_NEG_INF);
    else return _mm512_maskz_roundscale_pd(all8, v, _MM_FROUND_TO_NEG_INF);
#elif defined(__AVX2__)
    if constexpr (sizeof(lane_of<V>) == 4) return _mm256_round_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    else return _mm256_round_pd(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__aarch64__)
    if constexpr (sizeof(lane_of<V>) == 4) return vrndmq_f32(v);
    else return vrndmq_f64(v);
#else
    const V nearest = round(v);
    return copysign(nearest > v ? nearest - 1 : nearest, v);
#endif
}
template <class V>
PYDL_INLINE V ceil(V v) {
    return -floor(-v);
}

// Even lanes of a and b (the low 32 bits of each 64) multiplied to 64 bits.
PYDL_INLINE vec<std::uint64_t> mul_even_u32(vec<std::uint32_t> a, vec<std::uint32_t> b) {
#if defined(__AVX512F__)
    return (vec<std::uint64_t>)_mm512_maskz_mul_epu32(all8, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (vec<std::uint64_t>)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
    return (vec<std::uint64_t>)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
    return vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#endif
}

// ------------------------------------------------------------------------------- across the lanes

// Folds the upper half onto the lower until one lane is left: ((v0+v4)+(v2+v6))+((v1+v5)+(v3+v7)) for eight.
// Two registers of 8 lanes added, then folded, give the bits of one register of 16 folded.
template <class V, class F>
PYDL_INLINE auto fold(V v, F f) {
    if constexpr (sizeof(V) == sizeof(v[0])) return v[0];
    else if constexpr (sizeof(V) == 2 * sizeof(v[0]))
        return f(short_vec<lane_of<V>, 1>{v[0]}, short_vec<lane_of<V>, 1>{v[1]})[0];
    else return fold(f(low_half(v), high_half(v)), f);
}
template <class V>
PYDL_INLINE auto horizontal_sum(V v) {
    return fold(v, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
}
// NaN lanes: as min and max, whichever operand the fold happens to keep. Test for NaN beforehand.
template <class V>
PYDL_INLINE auto horizontal_min(V v) {
    return fold(v, [](auto a, auto b) __attribute__((always_inline)) { return a < b ? a : b; });
}
template <class V>
PYDL_INLINE auto horizontal_max(V v) {
    return fold(v, [](auto a, auto b) __attribute__((always_inline)) { return a > b ? a : b; });
}

// Whether any lane, all lanes of a mask are set.
template <class M>
PYDL_INLINE bool any(M m) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)m, (__m512i)m) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)m, (__m256i)m);
#elif defined(__x86_64__)
    return _mm_movemask_epi8((__m128i)m) != 0;
#elif defined(__aarch64__)
    return vmaxvq_u32((uint32x4_t)m) != 0;
#endif
}
template <class M>
PYDL_INLINE bool all(M m) {
    return !any(~m);
}

// rows[i][j] <-> rows[j][i] of lanes<T> registers: blocks of 16 bytes first, then the blocks themselves.
// Every step is one shuffle: 64 instructions for 16 x 16 floats.
template <class T>
PYDL_INLINE void transpose(vec<T> (&rows)[lanes<T>]) {
    constexpr int n = lanes<T>, block = 16 / sizeof(T), blocks = n / block;
    static_assert(block == 4 || block == 2);
    // Within a group of `block` rows: the block x block squares.
    PYDL_UNROLL for (int r = 0; r < n; r += block) {
        const auto interleave_low = [](int i) { return i / block * block + i % block / 2 + i % 2 * n; };
        const auto interleave_high = [](int i) { return i / block * block + i % block / 2 + block / 2 + i % 2 * n; };
        if constexpr (block == 2) {
            const vec<T> a = rows[r], b = rows[r + 1];
            rows[r] = shuffle(a, b, interleave_low);
            rows[r + 1] = shuffle(a, b, interleave_high);
        } else {
            const auto pair_low = [](int i) { return i / 4 * 4 + i % 2 + i % 4 / 2 * n; };
            const auto pair_high = [](int i) { return i / 4 * 4 + 2 + i % 2 + i % 4 / 2 * n; };
            const vec<T> a = shuffle(rows[r], rows[r + 1], interleave_low);
            const vec<T> b = shuffle(rows[r], rows[r + 1], interleave_high);
            const vec<T> c = shuffle(rows[r + 2], rows[r + 3], interleave_low);
            const vec<T> d = shuffle(rows[r + 2], rows[r + 3], interleave_high);
            rows[r] = shuffle(a, c, pair_low);
            rows[r + 1] = shuffle(a, c, pair_high);
            rows[r + 2] = shuffle(b, d, pair_low);
            rows[r + 3] = shuffle(b, d, pair_high);
        }
    }
    // Between the groups: the squares as elements.
    PYDL_UNROLL for (int j = 0; j < block; ++j) {
        if constexpr (blocks == 2) {
            const vec<T> a = rows[j], b = rows[block + j];
            rows[j] = shuffle(a, b, [](int i) { return i % block + i / block * n; });
            rows[block + j] = shuffle(a, b, [](int i) { return block + i % block + i / block * n; });
        } else if constexpr (blocks == 4) {
            const auto halves_low = [](int i) { return i % (2 * block) + i / (2 * block) * n; };
            const auto halves_high = [](int i) { return 2 * block + i % (2 * block) + i / (2 * block) * n; };
            const auto even = [](int i) { return i % block + i / block % 2 * 2 * block + i / (2 * block) * n; };
            const auto odd = [](int i) { return block + i % block + i / block % 2 * 2 * block + i / (2 * block) * n; };
            const vec<T> ab_low = shuffle(rows[j], rows[block + j], halves_low);
            const vec<T> ab_high = shuffle(rows[j], rows[block + j], halves_high);
            const vec<T> cd_low = shuffle(rows[2 * block + j], rows[3 * block + j], halves_low);
            const vec<T> cd_high = shuffle(rows[2 * block + j], rows[3 * block + j], halves_high);
            rows[j] = shuffle(ab_low, cd_low, even);
            rows[block + j] = shuffle(ab_low, cd_low, odd);
            rows[2 * block + j] = shuffle(ab_high, cd_high, even);
            rows[3 * block + j] = shuffle(ab_high, cd_high, odd);
        }
    }
}

// The squares in both halves of half as many registers, rows[i][j] <-> rows[j][i] and rows[i][n + j] <-> rows[j][n + i]:
// swaps blocks of 1, 2, 4, ... lanes between registers as far apart.
template <class T>
PYDL_INLINE void transpose_halves(vec<T> (&rows)[lanes<T> / 2]) {
    constexpr int n = lanes<T> / 2;
    const auto stage = [&]<int S>() __attribute__((always_inline)) {
        if constexpr (S < n) {
            PYDL_UNROLL for (int i = 0; i < n; ++i) {
                if (i & S) continue;
                const vec<T> a = rows[i], b = rows[i + S];
                rows[i] = shuffle(a, b, [](int l) { return l & S ? static_cast<int>(lanes<T>) + l - S : l; });
                rows[i + S] = shuffle(a, b, [](int l) { return l & S ? static_cast<int>(lanes<T>) + l : l + S; });
            }
        }
    };
    stage.template operator()<1>();
    stage.template operator()<2>();
    stage.template operator()<4>();
}

}  // namespace
}  // namespace pydl::PYDL_ISA
