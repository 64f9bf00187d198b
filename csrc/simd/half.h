// Halves to floats and back, a register of floats at a time: rounded to nearest, ties to even; subnormals count; a NaN
// stays one, quiet, with its sign and the upper bits of its payload. The same bits on every ISA. Included by simd/vec.h.
#pragma once
#include "simd/register.h"

namespace pydl::PYDL_ISA {
namespace {

// As many halves as a register has floats, as bits; in memory at any place.
using halves = short_vec<std::uint16_t, lanes<float>>;
using halves_of_memory = short_vec_of<std::uint16_t, lanes<float>>::loose;

#if defined(__AVX512F__)
PYDL_INLINE vec<float> float_of(halves h) { return _mm512_maskz_cvtph_ps(all16, (__m256i)h); }
PYDL_INLINE halves halves_of(vec<float> v) {
    return (halves)_mm512_maskz_cvtps_ph(all16, v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#elif defined(__F16C__)
PYDL_INLINE vec<float> float_of(halves h) { return _mm256_cvtph_ps((__m128i)h); }
PYDL_INLINE halves halves_of(vec<float> v) { return (halves)_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT); }
#elif defined(__aarch64__)
PYDL_INLINE vec<float> float_of(halves h) { return vcvt_f32_f16((float16x4_t)h); }
PYDL_INLINE halves halves_of(vec<float> v) { return (halves)vcvt_f16_f32(v); }
#else
using word32 = vec<std::uint32_t>;
constexpr std::uint32_t least_normal_half = 0x38800000;  // 2^-14, as a float
constexpr std::uint32_t exponents_apart = 112u << 23;    // the bias of float less that of half

PYDL_INLINE vec<float> float_of(halves h) {
    const word32 bits = __builtin_convertvector(h, word32);
    const word32 sign = (bits & 0x8000) << 16, magnitude = (bits & 0x7fff) << 13;
    // A subnormal m 2^-24 is 2^-14 with m as the mantissa, less 2^-14.
    const auto tiny = (word32)((vec<float>)(magnitude + least_normal_half) - 0x1p-14f);
    const word32 quiet = magnitude > 0x0f800000 ? word32{} + 0x00400000 : word32{};
    const word32 infinite = magnitude | 0x7f800000 | quiet;
    const word32 normal = magnitude + exponents_apart;
    return (vec<float>)(sign | (magnitude < 0x00800000 ? tiny : magnitude < 0x0f800000 ? normal : infinite));
}
PYDL_INLINE halves halves_of(vec<float> v) {
    const auto bits = (word32)v;
    const word32 sign = bits & 0x80000000, magnitude = bits ^ sign;
    // The last bit of 0.5 is that of subnormal halves: the addition rounds to it.
    const auto tiny = (word32)((vec<float>)magnitude + 0.5f) - 0x3f000000;
    const word32 even = (magnitude >> 13) & 1;
    const word32 normal = (magnitude - exponents_apart + 0x0fff + even) >> 13;  // a carry moves the exponent
    const word32 nan = 0x7e00 | ((magnitude >> 13) & 0x03ff);
    word32 result = magnitude < least_normal_half ? tiny : normal;
    result = magnitude < 0x47800000 ? result : word32{} + 0x7c00;  // 2^16 and more
    result = magnitude > 0x7f800000 ? nan : result;
    return __builtin_convertvector(result | (sign >> 16), halves);
}
#endif

// A double as a float on its way to a narrower type: where it is no float, the neighbour with an odd last bit, which
// the second rounding cannot mistake for a tie.
PYDL_INLINE float round_to_odd(double x) {
    const float nearest = static_cast<float>(x);
    const double error = x - static_cast<double>(nearest);
    std::uint32_t bits = __builtin_bit_cast(std::uint32_t, nearest);
    if ((error < 0 || error > 0) && bits % 2 == 0) bits += (error > 0) == (x > 0) ? 1u : ~0u;
    return __builtin_bit_cast(float, bits);
}

}  // namespace
}  // namespace pydl::PYDL_ISA
