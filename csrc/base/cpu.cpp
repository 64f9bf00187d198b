#include "base/cpu.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "build_lists.h"

namespace pydl {
namespace {

// Weakest first; PYDL_ISAS of CMakeLists.txt keeps this order.
const std::vector<const char*> built = {
#define PYDL_NAME(level) #level,
    PYDL_FOR_EACH_ISA(PYDL_NAME)
#undef PYDL_NAME
};

// Exactly what the level's flags let the compiler use, and the operating system saves (xgetbv is part of the
// builtin). x86-64-v3: AVX2, FMA, F16C, BMI; v4: AVX-512 F, BW, CD, DQ, VL.
bool machine_has(const char* level) {
#if defined(__x86_64__)
    if (!std::strcmp(level, "baseline")) return true;
    if (!std::strcmp(level, "avx2")) return __builtin_cpu_supports("x86-64-v3");
    if (!std::strcmp(level, "avx512")) return __builtin_cpu_supports("x86-64-v4");
    return false;
#else
    return !std::strcmp(level, "neon");  // part of every aarch64
#endif
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
