// Derivatives of the activations that products and cells end with, each in terms of its value y, for vec<T> and for T.
// The two slopes go to 0 where the activation saturates; they are written so that the difference keeps its digits there
// (within 2 eps), and every kernel that needs one takes it from here, so kernels agree.
#pragma once
#include "simd/vec.h"

namespace pydl::PYDL_ISA {
namespace {

// d where y > 0, else 0 (also for NaN): a product with 0 or 1 would turn an infinite d into NaN.
template <class V>
PYDL_INLINE V times_relu_slope(V y, V d) {
    return select(y > 0, d, V{});
}
// y (1 - y): 1 - y is exact from 0.5 on.
template <class V>
PYDL_INLINE V sigmoid_slope(V y) {
    return y * (1 - y);
}
// 1 - y^2, rounded once. Without a fused product y^2 would be rounded to a multiple of eps, all that is left of the
// difference at |y| near 1; the factors keep it.
template <class V>
PYDL_INLINE V tanh_slope(V y) {
#if PYDL_FUSED
    return fma(-y, y, V{} + 1);
#else
    return (1 - y) * (1 + y);
#endif
}

}  // namespace
}  // namespace pydl::PYDL_ISA
