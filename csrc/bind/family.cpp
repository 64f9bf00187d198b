// Compiled once per family, ISA-free: enters the rows of the chosen ISA level into the kernel registry.
#include <stdexcept>
#include <string>

#include "build_lists.h"
#include "kernels/table.h"
#include "program/kernel.h"

#define PYDL_EXPORT PYDL_JOIN(PYDL_FAMILY, _tables)
#define PYDL_REGISTER PYDL_JOIN(register_, PYDL_FAMILY)

#define PYDL_DECLARE(level)                      \
    namespace level {                            \
    extern const PYDL_TABLE::Tables PYDL_EXPORT; \
    }
namespace pydl {
PYDL_FOR_EACH_ISA(PYDL_DECLARE)

namespace {

#define PYDL_TEXT_(x) #x
#define PYDL_TEXT(x) PYDL_TEXT_(x)

[[maybe_unused]] constexpr const char* family = PYDL_TEXT(PYDL_FAMILY);

const PYDL_TABLE::Tables& tables_of(const std::string& isa) {
#define PYDL_MATCH(level)                         \
    if (isa == #level) return level::PYDL_EXPORT;
    PYDL_FOR_EACH_ISA(PYDL_MATCH)
    throw std::runtime_error("this build has no kernels for ISA level " + isa);
}

}  // namespace

#define PYDL_ENTER(rows, name, params, contract, error, type)                                \
    add_instance(family, #name, #params, contract, error, type, make_instance(t.rows.name));
void PYDL_REGISTER(const std::string& isa) {
    [[maybe_unused]] const auto& t = tables_of(isa);
#define FLOAT(name, params, contract)                                 \
    PYDL_ENTER(float_f32, name, params, contract, "", DType::float32) \
    PYDL_ENTER(float_f64, name, params, contract, "", DType::float64)
#define NUMBER(name, params, contract)                                 \
    PYDL_ENTER(number_f32, name, params, contract, "", DType::float32) \
    PYDL_ENTER(number_f64, name, params, contract, "", DType::float64) \
    PYDL_ENTER(number_i32, name, params, contract, "", DType::int32)   \
    PYDL_ENTER(number_i64, name, params, contract, "", DType::int64)
#define DATA(name, params, contract)                                 \
    PYDL_ENTER(data_f32, name, params, contract, "", DType::float32) \
    PYDL_ENTER(data_f64, name, params, contract, "", DType::float64) \
    PYDL_ENTER(data_i32, name, params, contract, "", DType::int32)   \
    PYDL_ENTER(data_i64, name, params, contract, "", DType::int64)   \
    PYDL_ENTER(data_u8, name, params, contract, "", DType::uint8)
#define CHECK(name, params, contract, error)                              \
    PYDL_ENTER(check_f32, name, params, contract, #error, DType::float32) \
    PYDL_ENTER(check_f64, name, params, contract, #error, DType::float64) \
    PYDL_ENTER(check_i32, name, params, contract, #error, DType::int32)   \
    PYDL_ENTER(check_i64, name, params, contract, #error, DType::int64)
#include "kernels.def"
}

}  // namespace pydl
