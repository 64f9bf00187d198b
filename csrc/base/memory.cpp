#include "base/memory.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <utility>

#include "base/fence.h"
#include "base/groups.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pydl {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

thread_local ScratchSlots slots;

constexpr std::size_t kUnknown = std::numeric_limits<std::size_t>::max();

std::string in_words(double bytes) {
    constexpr std::array<const char*, 7> units = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    std::size_t unit = 0;
    for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
    char text[32];
    std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

// The number behind a word of a file of lines "word number", 0 where there is none.
std::size_t number_after(const std::string& path, const std::string& word) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string first;
        std::size_t number = 0;
        if (words >> first >> number && first == word) return number;
    }
    return 0;
}

std::size_t number_in(const std::string& path, std::size_t otherwise) {
    std::size_t number;
    return std::ifstream(path) >> number ? number : otherwise;  // "max" is no number
}

std::size_t minus(std::size_t a, std::size_t b) { return a > b ? a - b : 0; }

// What one control group leaves. Files that are cached count as used, and are given back when memory is needed.
std::size_t left_in_group(const std::string& folder, const char* limit, const char* usage, const std::string& prefix) {
    const std::size_t most = number_in(folder + limit, kUnknown);
    if (most == kUnknown) return kUnknown;
    const std::string stat = folder + "memory.stat";
    const std::size_t cached =
        number_after(stat, prefix + "inactive_file") + number_after(stat, prefix + "active_file");
    return minus(most, minus(number_in(folder + usage, 0), cached));
}

// Swap that a group of version 2 leaves of what is free.
std::size_t swap_left(const std::string& folder, std::size_t free) {
    const std::size_t most = number_in(folder + "memory.swap.max", kUnknown);
    return std::min(free, minus(most, number_in(folder + "memory.swap.current", 0)));
}

std::size_t plus(std::size_t a, std::size_t b) { return a > kUnknown - b ? kUnknown : a + b; }

// The least that the process's control groups leave.
std::size_t left_in_groups(const std::string& root, std::size_t swap) {
    std::size_t least = kUnknown;
    for (const Group& group : control_groups(root, "memory")) {
        const std::string folder = group.folder + "/";
        least = std::min(least,
                         group.version_2
                             ? plus(left_in_group(folder, "memory.max", "memory.current", ""), swap_left(folder, swap))
                             : left_in_group(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"));
    }
    return least;
}

}  // namespace

std::size_t memory_left(const std::string& root) {
    const std::string table = root + "/proc/meminfo";
    const std::size_t available = number_after(table, "MemAvailable:") * 1024;
    const std::size_t swap = number_after(table, "SwapFree:") * 1024;
    return std::min(available ? available + swap : kUnknown, left_in_groups(root, swap));
}

void require_memory(double bytes, const std::string& what) {
    if (bytes < kLargeRequest) return;
    const auto left = static_cast<double>(memory_left());
    if (bytes > left)
        throw OutOfMemory(what + " takes " + in_words(bytes) + "; there are " + in_words(left) + " left.");
}

void* allocate(std::size_t bytes) {
    require_memory(static_cast<double>(bytes), "A block of memory");
    return allocate_untouched(bytes);
}

void* allocate_untouched(std::size_t bytes) {
    const bool huge = bytes >= 2 * kHugePage;
    const std::size_t unit = huge ? kHugePage : kLine;
    // Whole huge pages only: rounding a block of 4.1 MiB up to 6 MiB reserves addresses, not memory.
    const std::size_t size = round_up(bytes ? bytes : 1, unit);
    void* block = std::aligned_alloc(unit, size);
    if (!block) throw OutOfMemory("The system gives no block of " + in_words(static_cast<double>(bytes)) + ".");
    forbid(static_cast<char*>(block) + bytes, size - bytes);
#if defined(__linux__)
    if (huge) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return block;
}

void release(void* block) { std::free(block); }

ScratchSlots::~ScratchSlots() {
    for (Block& b : of) release(b.data);
}

void exchange_scratch(ScratchSlots& other) { std::swap(slots.of, other.of); }

void* scratch_bytes(Slot slot, std::size_t bytes) {
    ScratchSlots::Block& s = slots.of[static_cast<std::size_t>(slot)];
    if (s.bytes < bytes) {
        release(s.data);
        s.data = nullptr;
        s.bytes = 0;
        const std::size_t size = round_up(bytes, 4096);
        s.data = allocate(size);
        s.bytes = size;
    }
    allow(s.data, bytes);
    forbid(static_cast<char*>(s.data) + bytes, s.bytes - bytes);
    return s.data;
}

}  // namespace pydl
