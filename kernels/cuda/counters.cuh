#pragma once

#include <cstdint>

#include "kernels/cuda/reduce.cuh"

namespace iwseg::IWSEG_BACKEND {

/// counts[key] += amount, by the whole warp; a lane with nothing has a key below 0. Lanes mostly share a key, and
/// atomics at one place wait for each other: what the warp's first two keys receive is summed first, the rest goes one
/// by one.
template <class T>
__device__ __forceinline__ void add_to_counter(T* counts, std::int32_t key, T amount) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int round = 0; round < 2; ++round) {
        const unsigned left = __ballot_sync(kAllLanes, key >= 0);
        if (left == 0) return;
        const int leader = __ffs(static_cast<int>(left)) - 1;
        const bool same = key == __shfl_sync(kAllLanes, key, leader);
        const T sum = warp_sum(same ? amount : T{0});
        if (lane == leader) atomicAdd(counts + key, sum);
        if (same) key = -1;
    }
    if (key >= 0) atomicAdd(counts + key, amount);
}

}  // namespace iwseg::IWSEG_BACKEND
