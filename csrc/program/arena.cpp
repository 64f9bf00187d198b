#include "program/arena.h"

#include <algorithm>

#include "base/fence.h"
#include "base/memory.h"

namespace pydl {

namespace {
constexpr std::size_t kAlign = 64;
constexpr std::size_t kFirstChunk = std::size_t{1} << 18;
constexpr std::size_t kLargestChunk = std::size_t{1} << 24;
constexpr int kRest = 5;  // deviations, normalisation, sum, activation, and what comes of them
}  // namespace

Arena::~Arena() {
    for (auto& chunk : chunks_) pydl::release(chunk.base);
}

void* Arena::allocate(std::size_t bytes) {
    const std::size_t asked = bytes;
    bytes = std::max(kAlign, (bytes + kAlign - 1) / kAlign * kAlign);
    // Best fit: the smallest free block that is large enough.
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it)
        if (it->second >= bytes && (best == free_.end() || it->second < best->second)) best = it;
    if (best == free_.end()) {
        // Chunks grow with the program, so that a small one stays small.
        const std::size_t want = std::max(bytes, std::clamp(reserved_, kFirstChunk, kLargestChunk));
        auto* base = static_cast<char*>(pydl::allocate(want));
        forbid(base, want);
        chunks_.push_back({base, want});
        reserved_ += want;
        best = free_.emplace(base, want).first;
    }
    char* block = best->first;
    allow(block, asked);
    const std::size_t size = best->second;
    free_.erase(best);
    if (size > bytes) free_.emplace(block + bytes, size - bytes);
    used_.emplace(block, bytes);
    in_use_ += bytes;
    peak_ = std::max(peak_, in_use_);
    return block;
}

void Arena::release(void* p) {
    if (sealed_) return;
    auto it = used_.find(static_cast<char*>(p));
    if (it == used_.end()) return;
    char* block = it->first;
    std::size_t bytes = it->second;
    used_.erase(it);
    forbid(block, bytes);
    if (rest_ > 0) resting_.push_back({block, bytes});
    else free_block(block, bytes);
}

void Arena::age(bool in_parts) {
    rest_ = in_parts ? kRest : std::max(0, rest_ - 1);
    if (rest_ > 0) return;
    for (const auto& [block, bytes] : resting_) free_block(block, bytes);
    resting_.clear();
}

void Arena::free_block(char* block, std::size_t bytes) {
    in_use_ -= bytes;
    // Merge with free neighbours, but never across chunks (two chunks may happen to touch).
    const auto starts_chunk = [&](const char* at) {
        return std::any_of(chunks_.begin(), chunks_.end(), [&](const Chunk& c) { return c.base == at; });
    };
    auto next = free_.lower_bound(block);
    if (next != free_.end() && block + bytes == next->first && !starts_chunk(next->first)) {
        bytes += next->second;
        next = free_.erase(next);
    }
    if (next != free_.begin()) {
        auto before = std::prev(next);
        if (before->first + before->second == block && !starts_chunk(block)) {
            before->second += bytes;
            return;
        }
    }
    free_.emplace(block, bytes);
}

void Arena::seal() {
    sealed_ = true;
    // A replay uses again what the recording has given back.
    for (const Chunk& c : chunks_) allow(c.base, c.bytes);
}

std::ptrdiff_t Arena::offset_of(const void* p) const {
    const auto* at = static_cast<const char*>(p);
    std::ptrdiff_t before = 0;
    for (const Chunk& c : chunks_) {
        if (at >= c.base && at < c.base + c.bytes) return before + (at - c.base);
        before += static_cast<std::ptrdiff_t>(c.bytes);
    }
    return -1;
}

bool Arena::is_held(const void* begin, const void* end) const {
    const auto* from = static_cast<const char*>(begin);
    return std::any_of(used_.begin(), used_.end(), [&](const auto& block) {
        return block.first < static_cast<const char*>(end) && from < block.first + block.second;
    });
}

bool Arena::contains(const void* p) const {
    const auto* at = static_cast<const char*>(p);
    return std::any_of(chunks_.begin(), chunks_.end(),
                       [&](const Chunk& c) { return at >= c.base && at < c.base + c.bytes; });
}

}  // namespace pydl
