#include "kernels/components/size_weights.h"

#include <bit>
#include <cstdint>

#include "kernels/cuda/counters.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/memory.h"

// The table holds sizes until they become weights, in place 0 the lesion voxels of the whole patch. The target is read
// once, a byte a voxel; labels where there is lesion.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ std::uint32_t* sizes_in(float* table) {
    return reinterpret_cast<std::uint32_t*>(table);
}

__global__ void __launch_bounds__(kThreads) count_sizes_kernel(const std::uint8_t* target, const std::int32_t* labels,
                                                               std::int64_t voxels, std::int64_t stride, float* table) {
    const std::int64_t n = blockIdx.y;
    std::uint32_t* sizes = sizes_in(table) + n * stride;
    std::uint32_t all = 0, length = 0;  // length: of the run of `label` that goes on
    std::int32_t label = -1;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        if (target[n * voxels + v] != 1) continue;
        ++all;
        const std::int32_t met = labels[n * voxels + v];
        if (met != label) {
            if (length > 0) atomicAdd(sizes + label, length);
            label = met;
            length = 0;
        }
        ++length;
    }
    add_to_counter(sizes, length > 0 ? label : -1, length);
    all = block_sum<kThreads>(all);
    if (threadIdx.x == 0 && all > 0) atomicAdd(sizes, all);
}

/// Labels but 0, whose size the others read.
__global__ void __launch_bounds__(kThreads) weight_sizes_kernel(std::int64_t stride, float* table) {
    table += blockIdx.y * stride;
    for (std::int64_t l = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; l < stride;
         l += std::int64_t{gridDim.x} * kThreads) {
        if (l == 0) continue;
        const auto size = std::bit_cast<std::uint32_t>(table[l]);
        if (size > 0) table[l] = 1.0f / (static_cast<float>(size) + kAddedVoxels);
    }
}

/// One block: background's weight in each patch.
__global__ void __launch_bounds__(kThreads)
    weight_rest_kernel(std::int64_t samples, std::int64_t stride, float* table) {
    SHARED(std::uint32_t, any, 1);
    std::uint32_t found = 0;
    for (std::int64_t n = threadIdx.x; n < samples; n += kThreads) found += sizes_in(table)[n * stride] > 0;
    found = block_sum<kThreads>(found);
    if (threadIdx.x == 0) any[0] = found;
    __syncthreads();
    for (std::int64_t n = threadIdx.x; n < samples; n += kThreads) table[n * stride] = any[0] > 0 ? kRestWeight : 0.0f;
}

}  // namespace

void size_weights(Stream stream, View target, View labels, float* table, std::int64_t stride) {
    require_lesions(target, labels, stride, "size_weights");
    constexpr int kMostBlocks = 512;  // a thread then meets enough voxels to make its runs long
    const auto samples = static_cast<unsigned>(target.shape.n);
    const std::int64_t voxels = target.shape.voxels();
    set_zero(stream, table, target.shape.n * stride * static_cast<std::int64_t>(sizeof(float)));
    launch(count_sizes_kernel, {{blocks_for(voxels, kThreads, kMostBlocks), samples}, kThreads}, stream,
           target.as<const std::uint8_t>(), labels.as<const std::int32_t>(), voxels, stride, table);
    launch(weight_sizes_kernel, {{blocks_for(stride, kThreads), samples}, kThreads}, stream, stride, table);
    launch(weight_rest_kernel, {1, kThreads}, stream, target.shape.n, stride, table);
}

}  // namespace iwseg::IWSEG_BACKEND
