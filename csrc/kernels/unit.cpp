// Compiled once per family and ISA level: instantiates the family's kernels and fills its table.
#include "kernels/table.h"
#include "simd/register.h"

#define PYDL_TEXT_(x) #x
#define PYDL_TEXT(x) PYDL_TEXT_(x)
// clang-format off: it would put spaces into the path
#include PYDL_TEXT(kernels/PYDL_FAMILY.h)
// clang-format on

namespace pydl::PYDL_ISA {

namespace {

// A kernel that moves values, under the signature of one type of their width.
template <class Signature, class Moving>
struct Moved;
template <class... A, class... B>
struct Moved<void(A...), void (*)(B...)> {
    template <void (*Kernel)(B...)>
    static void run(A... a) {
        Kernel(__builtin_bit_cast(B, a)...);
    }
};

template <class T>
constexpr PYDL_TABLE::Slots<T> slots = {
#define ROW(step, way, result, name, params, ...)                                                             \
    []() -> result(*) params {                                                                                \
        if constexpr (!has_function<T, Rows::step, Narrow::way>) {                                            \
            return nullptr;                                                                                   \
        } else if constexpr (Narrow::way == Narrow::moved) {                                                  \
            using Bits = uint_of<T>;                                                                          \
            return &Moved<void params, decltype(&PYDL_ISA::name<Bits>)>::template run<&PYDL_ISA::name<Bits>>; \
        } else {                                                                                              \
            return &PYDL_ISA::name<T>;                                                                        \
        }                                                                                                     \
    }(),
#include "kernels.def"
};

template <class T, class U>
constexpr PYDL_TABLE::PairSlots<T, U> pair_slots = {
#define PAIR(name, params, ...) &PYDL_ISA::name<T, U>,
#include "kernels.def"
};
template <class T>
constexpr PYDL_TABLE::PairsFrom<T> pairs_from = {
#define TYPE(name, stored, computed, kind, rows) pair_slots<T, stored>,
#include "types.def"
#undef TYPE
};

}  // namespace

#define PYDL_EXPORT PYDL_JOIN(PYDL_FAMILY, _tables)
extern const PYDL_TABLE::Tables PYDL_EXPORT;
constinit const PYDL_TABLE::Tables PYDL_EXPORT = {
#define TYPE(name, stored, computed, kind, rows) slots<stored>, pairs_from<stored>,
#include "types.def"
#undef TYPE
};

}  // namespace pydl::PYDL_ISA
