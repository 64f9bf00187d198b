// Memory of one program. Blocks that Python frees while the recording is open are handed out again to later
// allocations of the same recording; since a replay repeats the order of the steps, this is the memory plan.
#pragma once
#include <cstddef>
#include <map>
#include <utility>
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
    // A step has been recorded. If it hands out its result in parts (base/tail.h), blocks rest until some more have been: a
    // result that lay where it reads could not be written while it runs.
    void age(bool in_parts);
    void seal();
    bool contains(const void* p) const;
    // Whether a block that has not been given back lies there.
    bool is_held(const void* begin, const void* end) const;
    // Bytes from the start of the first block of memory, all of them seen end to end; -1 outside.
    std::ptrdiff_t offset_of(const void* p) const;
    std::size_t reserved_bytes() const { return reserved_; }
    std::size_t peak_bytes() const { return peak_; }

private:
    void free_block(char* block, std::size_t bytes);

    struct Chunk {
        char* base;
        std::size_t bytes;
    };
    std::vector<Chunk> chunks_;
    std::map<char*, std::size_t> free_;  // by address, neighbours merged
    std::map<char*, std::size_t> used_;
    std::vector<std::pair<char*, std::size_t>> resting_;
    int rest_ = 0;  // steps until they are free
    std::size_t reserved_ = 0, in_use_ = 0, peak_ = 0;
    bool sealed_ = false;
};

}  // namespace pydl
