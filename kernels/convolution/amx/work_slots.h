#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace iwseg::cpu {

/// Calls body(slot, take) for at most so many slots, each on one thread at a time: for loops whose threads have room of
/// their own in scratch, and tiles to configure. take() gives the next of `items` that nobody has taken, or -1, so that
/// a thread that is late leaves its share to the others. Which slot an item comes to is open.
template <class Body>
void over_slots(Stream stream, int slots, std::int64_t items, Body&& body) {
    std::atomic<std::int64_t> next = 0;
    const auto take = [&]() -> std::int64_t {
        const std::int64_t item = next.fetch_add(1, std::memory_order_relaxed);
        return item < items ? item : -1;
    };
    ThreadPool* const threads = threads_of(stream);
    const std::int64_t used = threads ? std::min<std::int64_t>({slots, items, threads->threads()}) : 1;
    if (used <= 1) return body(std::int64_t{0}, take);
    threads->run(used, [&](std::int64_t slot) { body(slot, take); });
}

}  // namespace iwseg::cpu
