#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/thread_count.h"

namespace iwseg::cpu {

/// Calls body(item, worker) for each item from 0 up to `count`, in any order, each worker from 0 up to `workers` one
/// item at a time: for items that need memory of their own while they are computed, which is then one for each worker
/// and known before. A worker begins with the items that a loop before gave the same thread, whose weights are in its
/// core's caches, and goes on with those that others have left. workers: at most kMostThreads.
template <class Body>
void parallel_items(Stream stream, std::int64_t count, std::int64_t workers, Body&& body) {
    std::array<std::atomic<std::int32_t>, kMostThreads> taken{};
    workers = std::min(count, workers);
    const auto first_of = [=](std::int64_t worker) { return worker * count / workers; };
    parallel_for(stream, workers, [&](std::int64_t worker) {
        for (std::int64_t i = 0; i < workers; ++i) {
            const std::int64_t of = (worker + i) % workers, end = first_of(of + 1);
            const auto take = [&] { return first_of(of) + taken[static_cast<std::size_t>(of)].fetch_add(1); };
            for (std::int64_t item = take(); item < end; item = take()) body(item, worker);
        }
    });
}

}  // namespace iwseg::cpu
