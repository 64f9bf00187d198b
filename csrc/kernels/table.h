// The tables of one family, generated from kernels.def. Included by kernels/unit.cpp (once per family and
// ISA level, which fills the table) and by bind/family.cpp (once per family, which reads all of them).
#pragma once
#include "base/types.h"

#if !defined(PYDL_FAMILY)
#error "compile with -DPYDL_FAMILY=<family> -DPYDL_UNIT_<family>=1"
#endif
#define PYDL_WANTS(family) PYDL_UNIT_##family

#define PYDL_JOIN_(a, b) a##b
#define PYDL_JOIN(a, b) PYDL_JOIN_(a, b)
#define PYDL_TABLE PYDL_JOIN(table_, PYDL_FAMILY)

namespace pydl::PYDL_TABLE {

#define PYDL_ROW_SLOT(name, params, ...) void(*name) params;
#define PYDL_ROW_SKIP(name, params, ...)

template <class T>
struct FloatRows {
#define FLOAT PYDL_ROW_SLOT
#define NUMBER PYDL_ROW_SKIP
#define DATA PYDL_ROW_SKIP
#define CHECK PYDL_ROW_SKIP
#include "kernels.def"
#undef FLOAT
#undef NUMBER
};

template <class T>
struct NumberRows {
#define FLOAT PYDL_ROW_SKIP
#define NUMBER PYDL_ROW_SLOT
#include "kernels.def"
#undef NUMBER
#undef DATA
};

template <class T>
struct DataRows {
#define NUMBER PYDL_ROW_SKIP
#define DATA PYDL_ROW_SLOT
#include "kernels.def"
#undef DATA
#undef CHECK
};

template <class T>
struct CheckRows {
#define DATA PYDL_ROW_SKIP
#define CHECK(name, params, ...) dim(*name) params;
#include "kernels.def"
#undef FLOAT
#undef NUMBER
#undef DATA
#undef CHECK
};

// Everything one ISA level offers for the family; constant-initialised, the only symbol a unit exports.
struct Tables {
    FloatRows<float> float_f32;
    FloatRows<double> float_f64;
    NumberRows<float> number_f32;
    NumberRows<double> number_f64;
    NumberRows<std::int32_t> number_i32;
    NumberRows<std::int64_t> number_i64;
    DataRows<float> data_f32;
    DataRows<double> data_f64;
    DataRows<std::int32_t> data_i32;
    DataRows<std::int64_t> data_i64;
    DataRows<std::uint8_t> data_u8;
    CheckRows<float> check_f32;
    CheckRows<double> check_f64;
    CheckRows<std::int32_t> check_i32;
    CheckRows<std::int64_t> check_i64;
};

}  // namespace pydl::PYDL_TABLE
