// Compiled once per family and ISA level: instantiates the family's kernels and fills its table.
#include "kernels/table.h"

#define PYDL_TEXT_(x) #x
#define PYDL_TEXT(x) PYDL_TEXT_(x)
// clang-format off: it would put spaces into the path
#include PYDL_TEXT(kernels/PYDL_FAMILY.h)
// clang-format on

namespace pydl::PYDL_ISA {

namespace {

template <class T>
constexpr PYDL_TABLE::Slots<T> slots = {
#define ROW(step, result, name, params, ...)                           \
    []() -> result(*) params {                                         \
        if constexpr (joins<T, Rows::step>) return &PYDL_ISA::name<T>; \
        else return nullptr;                                           \
    }(),
#include "kernels.def"
};

}  // namespace

#define PYDL_EXPORT PYDL_JOIN(PYDL_FAMILY, _tables)
extern const PYDL_TABLE::Tables PYDL_EXPORT;
constinit const PYDL_TABLE::Tables PYDL_EXPORT = {
#define TYPE(name, stored, kind, rows) slots<stored>,
#include "types.def"
#undef TYPE
};

}  // namespace pydl::PYDL_ISA
