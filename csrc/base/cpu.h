// Which ISA level to use: detected at import, forced by PYDL_ISA.
#pragma once
#include <vector>

namespace pydl {

// The level in use: the strongest supported one, or PYDL_ISA. Throws std::runtime_error when PYDL_ISA names no level
// of this build, or one this machine cannot run.
const char* chosen_isa();
// Levels that both this machine and this build have, weakest first.
std::vector<const char*> supported_isas();

}  // namespace pydl
