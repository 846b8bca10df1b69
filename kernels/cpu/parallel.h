#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/thread_pool.h"

// How the CPU's loops run in parallel: on the threads of the stream they are given, or on the calling thread alone
// where it has none (Stream{}), which is what threads want that are many already: a loader's, a preparation's.
namespace iwseg::cpu {

inline ThreadPool* threads_of(Stream stream) {
    return static_cast<ThreadPool*>(stream.handle);
}
inline int thread_count(Stream stream) {
    return stream.handle ? threads_of(stream)->threads() : 1;
}

/// Calls body(first, last) for ranges that cover 0 up to `count`, each once, in any order: for loops that keep room of
/// their own beside the data. Several ranges a thread, so that one that is late leaves some to the others.
template <class Body>
void parallel_ranges(Stream stream, std::int64_t count, Body&& body) {
    constexpr std::int64_t kRangesPerThread = 16;
    if (count <= 0) return;
    ThreadPool* const threads = threads_of(stream);
    if (!threads || threads->threads() == 1) return body(std::int64_t{0}, count);
    const std::int64_t parts = std::min({count, kRangesPerThread * threads->threads(), ThreadPool::kMostParts});
    threads->run(parts, [&](std::int64_t part) { body(part * count / parts, (part + 1) * count / parts); });
}

/// Calls body(i) for each i from 0 up to `count`, in any order.
template <class Body>
void parallel_for(Stream stream, std::int64_t count, Body&& body) {
    parallel_ranges(stream, count, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) body(i);
    });
}

}  // namespace iwseg::cpu
