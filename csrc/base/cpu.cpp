#include "base/cpu.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "build_lists.h"

namespace pydl {
namespace {

// Weakest first, as in isa.def.
const std::vector<const char*> built = {
#define PYDL_NAME(level) #level,
    PYDL_FOR_EACH_ISA(PYDL_NAME)
#undef PYDL_NAME
};

// The conditions of isa.def. (The operating system's part, saved registers, is in the builtin.)
#define ALWAYS true
#define HAS(feature) __builtin_cpu_supports(feature)
#if defined(__x86_64__)
#define PYDL_LEVEL_x86_64(level, condition)           \
    if (!std::strcmp(name, #level)) return condition;
#define PYDL_LEVEL_aarch64(level, condition)
#else
#define PYDL_LEVEL_x86_64(level, condition)
#define PYDL_LEVEL_aarch64(level, condition)          \
    if (!std::strcmp(name, #level)) return condition;
#endif
bool machine_has(const char* name) {
#define ISA(architecture, level, flags, condition) PYDL_LEVEL_##architecture(level, condition)
#include "isa.def"
    return false;
}

std::string list(const std::vector<const char*>& levels) {
    std::string text;
    for (const char* level : levels) text += (text.empty() ? "" : ", ") + std::string(level);
    return text;
}

}  // namespace

std::vector<const char*> supported_isas() {
    std::vector<const char*> levels;
    for (const char* level : built)
        if (machine_has(level)) levels.push_back(level);
    return levels;
}

const char* chosen_isa() {
    const auto levels = supported_isas();
    if (levels.empty())
        throw std::runtime_error("this build of pydl has the ISA levels " + list(built) +
                                 "; this machine runs none of them");
    const char* forced = std::getenv("PYDL_ISA");
    if (!forced || !*forced) return levels.back();
    for (const char* level : levels)
        if (!std::strcmp(level, forced)) return level;
    for (const char* level : built)
        if (!std::strcmp(level, forced))
            throw std::runtime_error(std::string("PYDL_ISA=") + forced +
                                     ": this machine does not support it; expected one of " + list(levels));
    throw std::runtime_error(std::string("PYDL_ISA=") + forced + ": no such ISA level; expected one of " +
                             list(levels));
}

}  // namespace pydl
