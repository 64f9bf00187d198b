// Which ISA level to use: detected at import, forced by PYDL_ISA.
#pragma once
#include <vector>

namespace pydl {

// The level in use. Throws std::runtime_error for an unknown or unsupported PYDL_ISA.
const char* chosen_isa();
// Levels that both this machine and this build have, weakest first.
std::vector<const char*> supported_isas();

}  // namespace pydl
