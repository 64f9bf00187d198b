#include "base/cores.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "base/groups.h"

namespace pydl {
namespace {

// The quota of one group in cores; infinite where it has none.
double group_cores(const std::string& folder, bool version_2) {
    double quota = -1, period = 0;
    if (version_2) {
        std::ifstream(folder + "/cpu.max") >> quota >> period;  // "max 100000": no number, no quota
    } else {
        std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;  // -1: no quota
        std::ifstream(folder + "/cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? quota / period : HUGE_VAL;
}

}  // namespace

int affinity_cores() {
#if defined(__linux__)
    for (int cpus = CPU_SETSIZE; cpus <= CPU_SETSIZE << 8; cpus *= 2) {  // too small a set is refused
        cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(cpus));
        const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
        const bool known = sched_getaffinity(0, bytes, set) == 0;
        const int count = known ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (known) return std::max(1, count);
    }
#endif
    return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

int count_cores(const std::string& root, int available) {
    double cores = available;
    for (const Group& group : control_groups(root, "cpu"))
        cores = std::min(cores, group_cores(group.folder, group.version_2));
    return std::max(1, static_cast<int>(std::ceil(cores)));
}

}  // namespace pydl
