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

constexpr const char* family = PYDL_TEXT(PYDL_FAMILY);

const PYDL_TABLE::Tables& tables_of(const std::string& isa) {
#define PYDL_MATCH(level)                         \
    if (isa == #level) return level::PYDL_EXPORT;
    PYDL_FOR_EACH_ISA(PYDL_MATCH)
    throw std::runtime_error("this build has no kernels for ISA level " + isa);
}

// The instances of the rows that T takes part in.
template <class T>
void enter(const PYDL_TABLE::Slots<T>& slots) {
#define ROW(step, result, name, params, contract, error)                                                 \
    if constexpr (joins<T, Rows::step>)                                                                  \
        add_instance(family, #name, #params, contract, error, dtype_of<T>(), make_instance(slots.name));
#include "kernels.def"
}

}  // namespace

void PYDL_REGISTER(const std::string& isa) {
    const auto& t = tables_of(isa);
#define TYPE(name, stored, kind, rows) enter(t.name);
#include "types.def"
#undef TYPE
}

}  // namespace pydl
