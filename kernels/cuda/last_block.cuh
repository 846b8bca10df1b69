#pragma once

#include <stdexcept>

#include "kernels/cuda/launch.h"

// Sums over a whole launch, in that launch: every block leaves its own in memory, and the one that ends last reads them
// all, in the order of blocks and not of their ending, so that the result is the same whichever it is. A kernel of its
// own that joins them would wait for the whole card to run dry, and cost what a launch does.
//
// What blocks leave is written by relaxed_store and read by relaxed_load: past the SM's own cache, which other blocks
// do not write to.
namespace iwseg::IWSEG_BACKEND {

/// Called by all threads of `blocks` blocks, when what each leaves is written. True in all threads of the last to call;
/// the counter, which was 0, is 0 again then.
__device__ __forceinline__ bool is_last_block(unsigned* counter, unsigned blocks) {
    SHARED(unsigned, arrived, 1);
    __threadfence();  // what this thread left is there before its block has arrived
    __syncthreads();
    if (threadIdx.x == 0) {
        arrived[0] = atomicAdd(counter, 1u) + 1;
        if (arrived[0] == blocks) atomicExch(counter, 0u);
    }
    __syncthreads();
    const bool last = arrived[0] == blocks;
    if (last) __threadfence();  // and is read after all have
    return last;
}

/// Throws std::invalid_argument where the stream was not opened.
inline unsigned* counters_of(Stream stream) {
    if (!stream.counters) throw std::invalid_argument("sums over a launch need a stream that was opened");
    return stream.counters;
}

}  // namespace iwseg::IWSEG_BACKEND
