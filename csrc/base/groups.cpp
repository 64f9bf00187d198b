#include "base/groups.h"

#include <fstream>
#include <sstream>

namespace pydl {
namespace {

// A hierarchy of control groups: where it is mounted, and which of its groups stands there.
struct Mount {
    std::string place, shown;
};

bool lists(const std::string& words, const std::string& word) {
    return ("," + words + ",").find("," + word + ",") != std::string::npos;
}

// From /proc/self/mountinfo: "36 25 0:31 <shown> <place> <options> ... - <type> <source> <more options>".
std::vector<Mount> mounts_of(const std::string& root, const std::string& controller, bool version_2) {
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
        if (version_2 ? type == "cgroup2" : type == "cgroup" && lists(options, controller)) found.push_back(mount);
    }
    if (found.empty())
        found.push_back({version_2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller, "/"});  // as a rule
    return found;
}

}  // namespace

std::vector<Group> control_groups(const std::string& root, const std::string& controller) {
    std::vector<Group> found;
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {  // "<number>:<controllers>:<group>"; version 2 lists none
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const bool version_2 = controllers.empty();
        if (!version_2 && !lists(controllers, controller)) continue;
        for (const Mount& mount : mounts_of(root, controller, version_2)) {
            std::string group = line.substr(second + 1);
            if (mount.shown != "/" && (group + "/").starts_with(mount.shown + "/")) group.erase(0, mount.shown.size());
            while (group.size() > 1 && group.find("/..") == std::string::npos) {
                found.push_back({root + mount.place + group, version_2});
                group.erase(group.rfind('/'));
            }
            found.push_back({root + mount.place, version_2});
        }
    }
    return found;
}

}  // namespace pydl
