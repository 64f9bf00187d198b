#include "base/cpu.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "build_lists.h"

namespace pydl {
namespace {

bool machine_has(const char* level) {
#if defined(__x86_64__)
    if (!std::strcmp(level, "baseline")) return true;
    if (!std::strcmp(level, "avx2")) return __builtin_cpu_supports("x86-64-v3");
    if (!std::strcmp(level, "avx512")) return __builtin_cpu_supports("x86-64-v4");
    return false;
#else
    return !std::strcmp(level, "neon");
#endif
}

}  // namespace

std::vector<const char*> supported_isas() {
    std::vector<const char*> levels;
#define PYDL_ADD(level) \
    if (machine_has(#level)) levels.push_back(#level);
    PYDL_FOR_EACH_ISA(PYDL_ADD)
    return levels;
}

const char* chosen_isa() {
    const auto levels = supported_isas();
    const char* forced = std::getenv("PYDL_ISA");
    if (!forced || !*forced) return levels.back();
    std::string names;
    for (const char* level : levels) {
        if (!std::strcmp(level, forced)) return level;
        names += (names.empty() ? "" : ", ") + std::string(level);
    }
    throw std::runtime_error(std::string("PYDL_ISA=") + forced + ": expected one of the levels this machine and build have (" +
                             names + ")");
}

}  // namespace pydl
