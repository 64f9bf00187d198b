// Compiled once per family, ISA-free: enters the rows of the chosen ISA level into the kernel registry.
#include <stdexcept>
#include <string>

#include "build_lists.h"
#include "kernels/table.h"
#include "program/blocks.h"

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

#define TYPE(name, stored, computed, kind, rows)                                                                       \
    [[maybe_unused]] const PYDL_TABLE::Slots<stored>& slots_of(const PYDL_TABLE::Tables& t, stored) { return t.name; }
#include "types.def"
#undef TYPE

// The instances of the rows that T takes part in.
template <class T>
void enter(const PYDL_TABLE::Tables& t) {
    [[maybe_unused]] const auto& slots = slots_of(t, T{});
    [[maybe_unused]] const auto& wide = slots_of(t, compute<T>{});
#define ROW(step, way, result, name, params, ...)                                     \
    if constexpr (has_function<T, Rows::step, Narrow::way>)                           \
        add_instance(#name, dtype_of<T>(), make_entry(slots.name));                   \
    else if constexpr (joins<T, Rows::step> && Narrow::way == Narrow::by_blocks)      \
        add_instance(#name, dtype_of<T>(), make_blocks_entry(slots.name, wide.name));
#include "kernels.def"
}

template <class T, class U>
void enter_pairs([[maybe_unused]] const PYDL_TABLE::PairSlots<T, U>& slots) {
#define PAIR(name, params, ...) add_pair_instance(#name, dtype_of<T>(), dtype_of<U>(), make_entry(slots.name));
#include "kernels.def"
}
template <class T>
void enter_pairs_from(const PYDL_TABLE::PairsFrom<T>& from) {
#define TYPE(name, stored, computed, kind, rows) enter_pairs(from.name);
#include "types.def"
#undef TYPE
}

}  // namespace

void PYDL_REGISTER(const std::string& isa) {
    const auto& t = tables_of(isa);
#define ROW(step, way, result, name, params, contract, error)                              \
    add_kernel(family, #name, #params, contract, error, Narrow::way == Narrow::by_blocks);
#define PAIR(name, params, contract) add_pairs(family, #name, #params, contract);
#include "kernels.def"
#define TYPE(name, stored, computed, kind, rows) \
    enter<stored>(t);                            \
    enter_pairs_from(t.name##_to);
#include "types.def"
#undef TYPE
}

}  // namespace pydl
