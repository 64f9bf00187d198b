#include "base/cores.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace pydl {
namespace {

// Where a hierarchy of control groups is mounted, and which of its groups the mount point shows.
struct Mount {
    std::string place, shown;
};

bool lists(const std::string& words, const std::string& word) {
    return ("," + words + ",").find("," + word + ",") != std::string::npos;
}

// From /proc/self/mountinfo: "36 25 0:31 <shown> <place> <options> ... - <type> <source> <more options>".
std::vector<Mount> cpu_mounts(const std::string& root, bool version_2) {
    std::vector<Mount> found;
    std::ifstream table(root + "/proc/self/mountinfo");
    for (std::string line; std::getline(table, line);) {
        const auto dash = line.find(" - ");
        if (dash == std::string::npos) continue;
        std::istringstream left(line), right(line.substr(dash + 3));
        std::string skip, type, options;
        Mount mount;
        left >> skip >> skip >> skip >> mount.shown >> mount.place;
        right >> type >> skip >> options;
        if (version_2 ? type == "cgroup2" : type == "cgroup" && lists(options, "cpu")) found.push_back(mount);
    }
    if (found.empty()) found.push_back({version_2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu", "/"});  // the usual places
    return found;
}

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

// The smallest quota from `group` up to the mount point. Groups that cannot be seen from here (a container is told its
// path on the host, but shown its own part) have no files and no say.
double nested_cores(const std::string& root, const Mount& mount, std::string group, bool version_2) {
    if (mount.shown != "/" && (group + "/").starts_with(mount.shown + "/")) group.erase(0, mount.shown.size());
    double cores = group_cores(root + mount.place, version_2);
    while (group.size() > 1 && group.find("/..") == std::string::npos) {
        cores = std::min(cores, group_cores(root + mount.place + group, version_2));
        group.erase(group.rfind('/'));
    }
    return cores;
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
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {  // "<number>:<controllers>:<group>"; version 2 has none listed
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
        if (!controllers.empty() && !lists(controllers, "cpu")) continue;
        const bool version_2 = controllers.empty();
        for (const Mount& mount : cpu_mounts(root, version_2))
            cores = std::min(cores, nested_cores(root, mount, group, version_2));
    }
    return std::max(1, static_cast<int>(std::ceil(cores - 1e-6)));
}

}  // namespace pydl
