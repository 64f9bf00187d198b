// The rows of types.def as an enumeration and as traits of the C++ types. Constants only: safe in ISA objects.
#pragma once
#include "base/types.h"

namespace pydl {

enum class DType : std::uint8_t {
#define TYPE(name, stored, kind, rows) name,
#include "types.def"
#undef TYPE
};
constexpr int kDTypes = 0
#define TYPE(name, stored, kind, rows) +1
#include "types.def"
#undef TYPE
    ;

// Which rows of kernels.def a type takes part in: those of its own step and of the steps after it.
enum class Rows : std::uint8_t { floats, numbers, data };

template <class T>
struct ElementOf;  // of the types in types.def
#define TYPE(name, stored, kind, step)              \
    template <>                                     \
    struct ElementOf<stored> {                      \
        static constexpr DType dtype = DType::name; \
        static constexpr Rows rows = Rows::step;    \
    };
#include "types.def"
#undef TYPE

template <class T>
constexpr DType dtype_of() {
    return ElementOf<T>::dtype;
}

// Whether a row of kernels.def has an instance for T.
template <class T, Rows rows>
constexpr bool joins = ElementOf<T>::rows <= rows;

}  // namespace pydl
