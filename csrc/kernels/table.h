// The tables of one family, generated from kernels.def and types.def. Included by kernels/unit.cpp (once per family and
// ISA level, which fills the table) and by bind/family.cpp (once per family, which reads all of them).
#pragma once
#include "base/dtypes.h"

#if !defined(PYDL_FAMILY)
#error "compile with -DPYDL_FAMILY=<family> -DPYDL_UNIT_<family>=1"
#endif
#define PYDL_WANTS(family) PYDL_UNIT_##family

#define PYDL_JOIN_(a, b) a##b
#define PYDL_JOIN(a, b) PYDL_JOIN_(a, b)
#define PYDL_TABLE PYDL_JOIN(table_, PYDL_FAMILY)

namespace pydl::PYDL_TABLE {

// One slot per row; null where the row has no instance for T.
template <class T>
struct Slots {
#define ROW(rows, narrow, result, name, params, ...) result(*name) params;
#include "kernels.def"
};

// The PAIR rows from T to U, and those from T.
template <class T, class U>
struct PairSlots {
#define PAIR(name, params, ...) void(*name) params;
#include "kernels.def"
};
template <class T>
struct PairsFrom {
#define TYPE(name, stored, computed, kind, rows) PairSlots<T, stored> name;
#include "types.def"
#undef TYPE
};

// Everything one ISA level offers for the family; constant-initialised, the only symbol a unit exports.
struct Tables {
#define TYPE(name, stored, computed, kind, rows) \
    Slots<stored> name;                          \
    PairsFrom<stored> name##_to;
#include "types.def"
#undef TYPE
};

}  // namespace pydl::PYDL_TABLE
