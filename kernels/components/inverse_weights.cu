#include "kernels/components/inverse_weights.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "kernels/cuda/counters.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/dispatch.h"
#include "kernels/device/memory.h"

// The table is the histogram until it becomes the weights: cleared, counted with integer atomics, and turned over by
// one block a patch. Labels are read once, 4 bytes a voxel. Most voxels are background, and the others come in runs: a
// thread counts background in a register and keeps one label with its count, so that atomics are few.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 256, kTableThreads = 512;

/// The table while it holds sizes.
__device__ __forceinline__ std::uint32_t* sizes_in(float* table) {
    return reinterpret_cast<std::uint32_t*>(table);
}

/// W labels a thread at once; `labels` is then aligned to 4 W bytes, and the voxels of a patch a multiple of W.
template <int W>
__global__ void __launch_bounds__(kThreads)
    count_kernel(const std::int32_t* labels, std::int64_t voxels, std::int64_t stride, float* table) {
    const std::int64_t n = blockIdx.y;
    std::uint32_t* sizes = sizes_in(table) + n * stride;
    labels += n * voxels;
    std::uint32_t background = 0, length = 0;  // length: of the run of `label` that goes on
    std::int32_t label = -1;
#pragma unroll 2
    for (std::int64_t v = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * W; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads * W) {
        const auto read = *reinterpret_cast<const Pack<std::int32_t, W>*>(labels + v);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            const std::int32_t met = read.values[i];
            background += met == 0;
            if (met <= 0 || met >= stride) continue;
            if (met != label) {
                if (length > 0) atomicAdd(sizes + label, length);
                label = met;
                length = 0;
            }
            ++length;
        }
    }
    add_to_counter(sizes, label, length);
    background = block_sum<kThreads>(background);
    if (threadIdx.x == 0 && background > 0) atomicAdd(sizes, background);
}

/// One block a patch.
__global__ void __launch_bounds__(kTableThreads) weigh_kernel(std::int64_t stride, WeightClip clip, float* table) {
    SHARED(double, of_patch, 2);  // how many labels it has, and how many voxels of these
    table += blockIdx.x * stride;
    double present = 0, voxels = 0;
    for (std::int64_t l = threadIdx.x; l < stride; l += kTableThreads) {
        const auto size = std::bit_cast<std::uint32_t>(table[l]);
        present += size != 0;
        voxels += size;
    }
    present = block_sum<kTableThreads>(present);
    voxels = block_sum<kTableThreads>(voxels);
    if (threadIdx.x == 0) {
        of_patch[0] = present;
        of_patch[1] = voxels;
    }
    __syncthreads();
    for (std::int64_t l = threadIdx.x; l < stride; l += kTableThreads) {
        const auto size = std::bit_cast<std::uint32_t>(table[l]);
        if (size != 0) table[l] = inverse_weight(of_patch[1], of_patch[0], size, clip);
    }
}

__global__ void __launch_bounds__(kThreads) look_up_kernel(const std::int32_t* labels, std::int64_t voxels,
                                                           const float* table, std::int64_t stride, float* weights) {
    const std::int64_t n = blockIdx.y;
    for (std::int64_t v = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; v < voxels;
         v += std::int64_t{gridDim.x} * kThreads) {
        const std::int32_t label = labels[n * voxels + v];
        weights[n * voxels + v] = label >= 0 && label < stride ? __ldg(table + n * stride + label)
                                  : label == kIgnoredLabel     ? 0.0f
                                                               : NAN;
    }
}

LaunchShape over_voxels(const Shape& shape, int at_once, std::int64_t most = 1 << 20) {
    return {{blocks_for(shape.voxels(), kThreads * at_once, most), static_cast<unsigned>(shape.n)}, kThreads};
}

}  // namespace

void inverse_weight_table(Stream stream, View labels, float* table, std::int64_t stride, WeightClip clip) {
    require_labels(labels, stride, "inverse_weight_table");
    constexpr int kMostBlocks = 512;  // a thread then meets enough voxels to make its runs long
    const Shape& shape = labels.shape;
    const auto* from = labels.as<const std::int32_t>();
    const int at_once = shape.voxels() % 4 == 0 && reinterpret_cast<std::uintptr_t>(from) % 16 == 0 ? 4 : 1;
    set_zero(stream, table, shape.n * stride * static_cast<std::int64_t>(sizeof(float)));
    launch(at_once == 4 ? count_kernel<4> : count_kernel<1>, over_voxels(shape, at_once, kMostBlocks), stream, from,
           shape.voxels(), stride, table);
    launch(weigh_kernel, {static_cast<unsigned>(shape.n), kTableThreads}, stream, stride, clip, table);
}

void look_up_weights(Stream stream, View labels, const float* table, std::int64_t stride, View weights) {
    require_labels(labels, stride, "look_up_weights");
    require_same(labels, weights, "look_up_weights");
    if (weights.type != Type::f32) throw std::invalid_argument("look_up_weights: weights are f32");
    launch(look_up_kernel, over_voxels(labels.shape, 1), stream, labels.as<const std::int32_t>(), labels.shape.voxels(),
           table, stride, weights.as<float>());
}

}  // namespace iwseg::IWSEG_BACKEND
