// The control groups around this process, which bound its cores and its memory. A container may be told the path of its
// group on the host and shown its own part of the hierarchy only.
#pragma once
#include <string>
#include <vector>

namespace pydl {

struct Group {
    std::string folder;  // where its files are, without a "/" at the end
    bool version_2;
};

// The group of the process and those around it, of a controller ("cpu", "memory") and, in version 2, of all. What cannot
// be seen from here has no files in its folder. Reads under `root`, which is "" but in tests.
std::vector<Group> control_groups(const std::string& root, const std::string& controller);

}  // namespace pydl
