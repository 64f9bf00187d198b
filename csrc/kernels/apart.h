// How often a text stands in an object. What a loop or a parallel_for is given is inlined wherever it is called, and the
// compiler's time, and the size of the wheel, are mostly copies.
#pragma once
#include "simd/register.h"

namespace pydl::PYDL_ISA {
namespace {

// f as a function of its own: one text, however many places call it. It works on a copy, whose captures may stay in
// registers; what lies behind a reference might be changed by any store.
template <class F>
struct Apart {
    F f;
    template <class... A>
    [[gnu::noinline]] auto operator()(A... a) const {
        const F mine = f;
        return mine(a...);
    }
};
template <class F>
Apart(F) -> Apart<F>;

// Of floats f itself. Of other types, which models compute with less, a function of its own.
template <class T, class F>
PYDL_INLINE auto apart_unless_float(F f) {
    if constexpr (same<T, float>) return f;
    else return Apart{f};
}

}  // namespace
}  // namespace pydl::PYDL_ISA
