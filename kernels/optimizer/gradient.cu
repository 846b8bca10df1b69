#include "kernels/optimizer/gradient.h"

#include <cmath>

#include "kernels/cuda/last_block.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/optimizer/flat.cuh"

namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;
/// Blocks that sum squares, at most: fixed, so that the sum does not depend on the card.
constexpr int kMostBlocks = 1024;

struct AccumulateChange {
    static constexpr int kBuffers = 2, kFirstWritten = 0;  ///< gradient, sum
    const UpdateStep* step;
    float factor;
    bool first = false, last = false;

    __device__ __forceinline__ bool begin() {
        first = step->first_batch != 0;
        last = step->last_batch != 0;
        return true;
    }
    __device__ __forceinline__ void operator()(float (&x)[kBuffers]) const {
        x[1] = first ? x[0] : x[1] + x[0];
        if (last) x[0] = factor * x[1];
    }
};

/// sum: [0] of all; after it one a block.
__global__ void __launch_bounds__(kThreads)
    square_sum_kernel(std::int64_t count, const float* gradient, double* sum, unsigned* counter) {
    const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
    double own = 0;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step)
        own += double{gradient[i]} * gradient[i];
    own = block_sum<kThreads>(own);
    if (threadIdx.x == 0) relaxed_store(sum + 1 + blockIdx.x, own);
    if (!is_last_block(counter, gridDim.x)) return;
    double all = 0;
    for (unsigned b = threadIdx.x; b < gridDim.x; b += kThreads) all += relaxed_load(sum + 1 + b);
    all = block_sum<kThreads>(all);
    if (threadIdx.x == 0) *sum = all;
}

struct ClipChange {
    static constexpr int kBuffers = 1, kFirstWritten = 0;
    const double* square_sum;
    float limit;
    float factor = 1;

    __device__ __forceinline__ bool begin() {
        factor = static_cast<float>(limit / (sqrt(*square_sum) + 1e-6));
        return !(factor >= 1.0f);
    }
    __device__ __forceinline__ void operator()(float (&x)[kBuffers]) const { x[0] *= factor; }
};

}  // namespace

void accumulate_gradient(Stream stream, const UpdateStep* step, float factor, std::int64_t count, float* gradient,
                         float* sum) {
    change_flat(stream, AccumulateChange{step, factor}, count, gradient, sum);
}

std::int64_t clip_scratch_bytes(std::int64_t) {
    return (1 + kMostBlocks) * static_cast<std::int64_t>(sizeof(double));
}

void clip_gradient(Stream stream, float limit, std::int64_t count, float* gradient, void* scratch) {
    auto* sum = static_cast<double*>(scratch);
    launch(square_sum_kernel, {blocks_for(count, 4 * kThreads, kMostBlocks), kThreads}, stream, count, gradient, sum,
           counters_of(stream));
    change_flat(stream, ClipChange{sum, limit}, count, gradient);
}

}  // namespace iwseg::IWSEG_BACKEND
