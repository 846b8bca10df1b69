#pragma once

#include "kernels/cuda/launch.h"

// Sums in a fixed order: lanes of a warp by a tree of shuffles, warps of a block through shared memory. What a block
// sums depends on the launch's shape only, never on which thread comes first.
namespace iwseg::IWSEG_BACKEND {

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

/// The sum over the warp, in every lane.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int other = 16; other > 0; other /= 2) value += __shfl_xor_sync(kAllLanes, value, other);
    return value;
}

/// The sum over a block of kThreads threads, in thread 0. Ends with a barrier: it may be called again at once.
template <int kThreads, class T>
__device__ T block_sum(T value) {
    static_assert(kThreads % 32 == 0 && kThreads <= 1024);
    SHARED(T, warps, kThreads / 32);
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    T total = 0;
    if (threadIdx.x == 0)
        for (int w = 0; w < kThreads / 32; ++w) total += warps[w];
    __syncthreads();
    return total;
}

}  // namespace iwseg::IWSEG_BACKEND
