#include "kernels/patch/grid_patch.h"

#include <climits>

#include "kernels/cuda/launch.h"

// Rows of a cube lie along x; a block takes one row. Each kernel reads and writes every number once, so that all three
// are bounded by bandwidth. The margin's minimum is found by integer atomics on a float's bits in an order that makes
// them compare as floats do: the result does not depend on who comes first.
namespace iwseg::IWSEG_BACKEND {
namespace {

constexpr int kThreads = 128;

/// A float's bits as an integer of the same order.
__device__ __forceinline__ int ordered(float value) {
    const int bits = static_cast<int>(__float_as_uint(value));
    return bits >= 0 ? bits : bits ^ INT_MAX;
}
__device__ __forceinline__ float from_ordered(int bits) {
    return __uint_as_float(static_cast<unsigned>(bits >= 0 ? bits : bits ^ INT_MAX));
}

__global__ void start_minimum_kernel(int* lowest) {
    lowest[threadIdx.x] = INT_MAX;
}

__global__ void copy_patch_kernel(const float* scan, GridPatch p, float* seen, int* lowest) {
    const std::int64_t d = blockIdx.y, h = blockIdx.x, c = blockIdx.z;
    const std::int64_t i = p.start[0] + d, j = p.start[1] + h;
    const bool inside = i >= 0 && i < p.scan[0] && j >= 0 && j < p.scan[1];
    const float* from = scan + ((c * p.scan[0] + i) * p.scan[1] + j) * p.scan[2];
    float* row = seen + ((c * p.padded + p.margin + d) * p.padded + p.margin + h) * p.padded + p.margin;
    SHARED(int, block_lowest, 1);
    if (threadIdx.x == 0) block_lowest[0] = INT_MAX;
    __syncthreads();
    int mine = INT_MAX;
    for (std::int64_t w = threadIdx.x; w < p.patch; w += kThreads) {
        const std::int64_t k = p.start[2] + w;
        const float value = inside && k >= 0 && k < p.scan[2] ? from[k] : 0.0f;
        row[w] = value;
        mine = min(mine, ordered(value));
    }
    atomicMin(&block_lowest[0], mine);
    __syncthreads();
    if (threadIdx.x == 0) atomicMin(&lowest[c], block_lowest[0]);
}

__global__ void fill_margin_kernel(GridPatch p, const int* lowest, float* seen) {
    const std::int64_t d = blockIdx.y, h = blockIdx.x, c = blockIdx.z, end = p.margin + p.patch;
    const float value = from_ordered(lowest[c]);
    const bool row_outside = d < p.margin || d >= end || h < p.margin || h >= end;
    float* row = seen + ((c * p.padded + d) * p.padded + h) * p.padded;
    for (std::int64_t w = threadIdx.x; w < p.padded; w += kThreads)
        if (row_outside || w < p.margin || w >= end) row[w] = value;
}

__global__ void accumulate_kernel(const float* logit, GridPatch p, float* logit_sum, float* probability_sum) {
    const std::int64_t d = blockIdx.y, h = blockIdx.x, i = p.start[0] + d, j = p.start[1] + h;
    if (i < 0 || i >= p.scan[0] || j < 0 || j >= p.scan[1]) return;
    const float* row = logit + ((p.margin + d) * p.padded + p.margin + h) * p.padded + p.margin;
    for (std::int64_t w = threadIdx.x; w < p.patch; w += kThreads) {
        const std::int64_t k = p.start[2] + w;
        if (k < 0 || k >= p.scan[2]) continue;
        const std::int64_t to = (i * p.scan[1] + j) * p.scan[2] + k;
        const float z = row[w], e = expf(-fabsf(z)), large = 1.0f / (1.0f + e);
        logit_sum[to] += z;
        probability_sum[to] += z >= 0 ? large : e * large;
    }
}

__global__ void average_kernel(GridCover grid, float* logit_sum, float* probability_sum) {
    const std::int64_t rows = grid.scan[0] * grid.scan[1];
    for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const std::int64_t covers = cover_along(grid, 0, row / grid.scan[1]) * cover_along(grid, 1, row % grid.scan[1]);
        for (std::int64_t k = threadIdx.x; k < grid.scan[2]; k += kThreads) {
            const float share = 1.0f / static_cast<float>(covers * cover_along(grid, 2, k));
            logit_sum[row * grid.scan[2] + k] *= share;
            probability_sum[row * grid.scan[2] + k] *= share;
        }
    }
}

dim3 rows_of(std::int64_t side, std::int64_t channels) {
    return {static_cast<unsigned>(side), static_cast<unsigned>(side), static_cast<unsigned>(channels)};
}

}  // namespace

std::int64_t extract_patch_scratch_bytes(std::int64_t channels) {
    return channels * static_cast<std::int64_t>(sizeof(int));
}

void extract_patch(Stream stream, View scan, const GridPatch& patch, View seen, void* scratch) {
    auto* lowest = static_cast<int*>(scratch);
    const std::int64_t channels = scan.shape.c;
    launch(start_minimum_kernel, {1, static_cast<unsigned>(channels)}, stream, lowest);
    launch(copy_patch_kernel, {rows_of(patch.patch, channels), kThreads}, stream, scan.as<const float>(), patch,
           seen.as<float>(), lowest);
    if (patch.padded > patch.patch)
        launch(fill_margin_kernel, {rows_of(patch.padded, channels), kThreads}, stream, patch, lowest,
               seen.as<float>());
}

void accumulate_patch(Stream stream, View logit, const GridPatch& patch, float* logit_sum, float* probability_sum) {
    launch(accumulate_kernel, {rows_of(patch.patch, 1), kThreads}, stream, logit.as<const float>(), patch, logit_sum,
           probability_sum);
}

void average_patches(Stream stream, const GridCover& grid, float* logit_sum, float* probability_sum) {
    launch(average_kernel, {blocks_for(grid.scan[0] * grid.scan[1], 1, 65535), kThreads}, stream, grid, logit_sum,
           probability_sum);
}

}  // namespace iwseg::IWSEG_BACKEND
