// Memory of one program. Blocks that Python frees while the recording is open are handed out again to later
// allocations of the same recording; since a replay repeats the order of the steps, this is the memory plan.
#pragma once
#include <cstddef>
#include <map>
#include <vector>

namespace pydl {

class Arena {
public:
    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena();

    // 64-byte aligned, uninitialised.
    void* allocate(std::size_t bytes);
    // Gives a block back. After seal() nothing is reused: replays write where the recording wrote.
    void release(void* block);
    void seal();
    bool contains(const void* p) const;
    // Bytes from the start of the first block of memory, all of them seen end to end; -1 outside.
    std::ptrdiff_t offset_of(const void* p) const;
    std::size_t reserved_bytes() const { return reserved_; }
    std::size_t peak_bytes() const { return peak_; }

private:
    struct Chunk {
        char* base;
        std::size_t bytes;
    };
    std::vector<Chunk> chunks_;
    std::map<char*, std::size_t> free_;  // by address, neighbours merged
    std::map<char*, std::size_t> used_;
    std::size_t reserved_ = 0, in_use_ = 0, peak_ = 0;
    bool sealed_ = false;
};

}  // namespace pydl
