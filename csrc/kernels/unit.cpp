// Compiled once per family and ISA level: instantiates the family's kernels and fills its table.
#include "kernels/table.h"

#define PYDL_TEXT_(x) #x
#define PYDL_TEXT(x) PYDL_TEXT_(x)
// clang-format off: it would put spaces into the path
#include PYDL_TEXT(kernels/PYDL_FAMILY.h)
// clang-format on

namespace pydl::PYDL_ISA {

namespace {

#define PYDL_ROW_ADDRESS(name, params, ...) &PYDL_ISA::name<T>,
#define PYDL_ROW_SKIP(name, params, ...)

template <class T>
constexpr PYDL_TABLE::FloatRows<T> float_rows = {
#define FLOAT PYDL_ROW_ADDRESS
#define NUMBER PYDL_ROW_SKIP
#define DATA PYDL_ROW_SKIP
#define CHECK PYDL_ROW_SKIP
#include "kernels.def"
#undef FLOAT
#undef NUMBER
};

template <class T>
constexpr PYDL_TABLE::NumberRows<T> number_rows = {
#define FLOAT PYDL_ROW_SKIP
#define NUMBER PYDL_ROW_ADDRESS
#include "kernels.def"
#undef NUMBER
#undef DATA
};

template <class T>
constexpr PYDL_TABLE::DataRows<T> data_rows = {
#define NUMBER PYDL_ROW_SKIP
#define DATA PYDL_ROW_ADDRESS
#include "kernels.def"
#undef DATA
#undef CHECK
};

template <class T>
constexpr PYDL_TABLE::CheckRows<T> check_rows = {
#define DATA PYDL_ROW_SKIP
#define CHECK PYDL_ROW_ADDRESS
#include "kernels.def"
#undef FLOAT
#undef NUMBER
#undef DATA
#undef CHECK
};

}  // namespace

#define PYDL_EXPORT PYDL_JOIN(PYDL_FAMILY, _tables)
extern const PYDL_TABLE::Tables PYDL_EXPORT;
constinit const PYDL_TABLE::Tables PYDL_EXPORT = {
    float_rows<float>,         float_rows<double>,        number_rows<float>,       number_rows<double>,
    number_rows<std::int32_t>, number_rows<std::int64_t>, data_rows<float>,         data_rows<double>,
    data_rows<std::int32_t>,   data_rows<std::int64_t>,   data_rows<std::uint8_t>,  check_rows<float>,
    check_rows<double>,        check_rows<std::int32_t>,  check_rows<std::int64_t>,
};

}  // namespace pydl::PYDL_ISA
