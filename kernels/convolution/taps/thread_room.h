#pragma once

#include <cstdint>
#include <vector>

namespace iwseg::cpu {

/// Memory of the calling thread, one for each use, until its next call: it grows to what the largest convolution needs,
/// some MB where rows are wide and channels many, and is kept, so that steps allocate nothing.
template <int kUse>
char* thread_room(std::int64_t bytes) {
    struct alignas(64) Line {
        char bytes[64];
    };
    thread_local std::vector<Line> memory;
    const auto lines = static_cast<std::size_t>(bytes / 64 + 1);
    if (memory.size() < lines) memory.resize(lines);
    return memory.data()->bytes;
}

}  // namespace iwseg::cpu
