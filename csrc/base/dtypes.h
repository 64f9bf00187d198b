// The rows of types.def as an enumeration and as traits of the C++ types. Constants only: safe in ISA objects.
#pragma once
#include "base/types.h"

namespace pydl {

// IEEE 754 binary16 as it lies in memory. It has no arithmetic: what is computed with it is float (compute<half>), and
// simd/half.h converts on the way in and out.
struct half {
    std::uint16_t bits;
};

enum class DType : std::uint8_t {
#define TYPE(name, stored, computed, kind, rows) name,
#include "types.def"
#undef TYPE
};
constexpr int kDTypes = 0
#define TYPE(name, stored, computed, kind, rows) +1
#include "types.def"
#undef TYPE
    ;

// Which rows of kernels.def a type takes part in: those of its own step and of the steps after it.
enum class Rows : std::uint8_t { floats, numbers, data };
// What a row does for a narrow type; the head of kernels.def.
enum class Narrow : std::uint8_t { widened, by_blocks, stored, moved };

template <class T>
struct ElementOf;  // of the types in types.def
#define TYPE(name, stored, computed, kind, step)    \
    template <>                                     \
    struct ElementOf<stored> {                      \
        using compute = computed;                   \
        static constexpr DType dtype = DType::name; \
        static constexpr Rows rows = Rows::step;    \
    };
#include "types.def"
#undef TYPE

template <class T>
constexpr DType dtype_of() {
    return ElementOf<T>::dtype;
}

// What values of T are computed as; a type that is no element type, as itself.
template <class T>
struct ComputeOf {
    using type = T;
};
template <class T>
    requires(sizeof(ElementOf<T>) > 0)
struct ComputeOf<T> {
    using type = typename ElementOf<T>::compute;
};
template <class T>
using compute = typename ComputeOf<T>::type;

template <class T>
constexpr bool is_narrow = sizeof(T) < sizeof(compute<T>);

// Whether a row of kernels.def takes T at all, and whether it has a function of its own for it.
template <class T, Rows rows>
constexpr bool joins = ElementOf<T>::rows <= rows;
template <class T, Rows rows, Narrow narrow>
constexpr bool has_function = joins<T, rows> && (!is_narrow<T> || narrow == Narrow::stored || narrow == Narrow::moved);

}  // namespace pydl
