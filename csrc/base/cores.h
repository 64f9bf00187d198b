// How many cores this process may use: on a machine, or in a container that sees 64 of them and is allowed the time of
// two.
#pragma once
#include <string>

namespace pydl {

// The cores in the affinity of the calling thread, at least 1.
int affinity_cores();

// `available` cores, or fewer where a control group allows less time: the smallest quota of the process's group and the
// groups around it, rounded up to whole cores. Reads version 2 (cpu.max) and version 1 (cpu.cfs_quota_us) under `root`,
// which is "" but in tests.
int count_cores(const std::string& root, int available);

}  // namespace pydl
