#include "kernels/components/component_weights.h"

#include <bit>
#include <cstdint>

#include "kernels/components/mask_cells.cuh"
#include "kernels/cuda/counters.cuh"
#include "kernels/device/dispatch.h"

// Four launches and one clearing of counters: find cells, join them, count voxels by root and label, weigh the roots.
// The mask's byte a voxel is read, a byte a cell written; the rest is done for cells with foreground only. A label is
// one more than the root's cell, and the table's place of that label holds the component's size until it is weighed.
namespace iwseg::IWSEG_BACKEND {
namespace {

enum Counter { listed, components, foreground, ignored, kCounters };

/// The table while it holds sizes.
__device__ __forceinline__ std::int32_t* sizes_in(float* table) {
    return reinterpret_cast<std::int32_t*>(table);
}

template <int W>
__global__ void __launch_bounds__(kMaskThreads)
    find_kernel(MaskCells cells, const std::uint8_t* mask, float* table, std::int64_t stride) {
    std::int32_t* sizes = sizes_in(table) + blockIdx.y * stride + 1;
    std::int32_t left_out = find_cells<W, true>(cells, mask, [&](std::int32_t cell, std::uint8_t) { sizes[cell] = 0; });
    left_out = block_sum<kMaskThreads>(left_out);
    if (threadIdx.x == 0 && left_out > 0) atomicAdd(cells.listed + ignored * cells.shape.n + blockIdx.y, left_out);
}

__global__ void __launch_bounds__(kMaskThreads)
    count_kernel(MaskCells cells, std::int32_t* labels, float* table, std::int64_t stride) {
    const std::int64_t n = blockIdx.y, all = cells.count();
    const std::int32_t length = cells.listed[n];
    std::int32_t roots = 0, voxels_here = 0;
    std::int64_t first = std::int64_t{blockIdx.x} * kMaskThreads;
    if (first >= length) return;
    for (; first < length; first += std::int64_t{gridDim.x} * kMaskThreads) {
        std::int32_t root = -1, voxels = 0;
        if (first + threadIdx.x < length) {
            const std::int32_t cell = cells.list[n * all + first + threadIdx.x];
            const unsigned bits = cells.bytes[n * all + cell];
            root = root_of(cells.parents + n * all, cell);
            voxels = __popc(bits);
            roots += root == cell;
            voxels_here += voxels;
            label_voxels(cells, n, cell, bits, root + 1, labels);
        }
        add_to_counter(sizes_in(table) + n * stride + 1, root, voxels);
    }
    roots = block_sum<kMaskThreads>(roots);
    voxels_here = block_sum<kMaskThreads>(voxels_here);
    if (threadIdx.x != 0) return;
    atomicAdd(cells.listed + components * cells.shape.n + n, roots);
    atomicAdd(cells.listed + foreground * cells.shape.n + n, voxels_here);
}

__global__ void __launch_bounds__(kMaskThreads)
    weigh_kernel(MaskCells cells, WeightClip clip, float* table, std::int64_t stride) {
    const std::int64_t n = blockIdx.y, all = cells.count();
    const std::int64_t voxels = cells.shape.voxels() - cells.listed[ignored * cells.shape.n + n];
    const std::int64_t background = voxels - cells.listed[foreground * cells.shape.n + n];
    const auto patch = static_cast<double>(voxels);
    const double present = cells.listed[components * cells.shape.n + n] + (background > 0 ? 1 : 0);
    table += n * stride;
    if (blockIdx.x == 0 && threadIdx.x == 0)
        table[0] = background > 0 ? inverse_weight(patch, present, static_cast<double>(background), clip) : 0.0f;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kMaskThreads + threadIdx.x; i < cells.listed[n];
         i += std::int64_t{gridDim.x} * kMaskThreads) {
        const std::int32_t cell = cells.list[n * all + i];
        if (cells.parents[n * all + cell] != cell) continue;
        float& place = table[std::int64_t{cell} + 1];
        place = inverse_weight(patch, present, std::bit_cast<std::int32_t>(place), clip);
    }
}

}  // namespace

std::int64_t component_weights_scratch_bytes(const Shape& mask, int connectivity) {
    ScratchParts parts(nullptr);
    cells_in(parts, mask, edge_of(connectivity), kCounters);
    return parts.bytes();
}

void component_weights(Stream stream, View mask, int connectivity, WeightClip clip, View labels, float* table,
                       void* scratch) {
    require_mask(mask, connectivity, "component_weights");
    require_same(mask, labels, "component_weights");
    const std::int64_t stride = component_label_bound(mask.shape, connectivity);
    require_labels(labels, stride, "component_weights");
    ScratchParts parts(scratch);
    const MaskCells cells = cells_in(parts, mask.shape, edge_of(connectivity), kCounters);
    const auto* voxels = mask.as<const std::uint8_t>();
    set_zero(stream, cells.listed, kCounters * mask.shape.n * static_cast<std::int64_t>(sizeof(std::int32_t)));
    const int at_once = cells_at_once(cells, voxels);
    launch(at_once == 8 ? find_kernel<8> : find_kernel<1>, over_cells(cells, at_once), stream, cells, voxels, table,
           stride);
    join_cells(stream, cells, connectivity);
    launch(count_kernel, over_list(cells), stream, cells, labels.as<std::int32_t>(), table, stride);
    launch(weigh_kernel, over_list(cells), stream, cells, clip, table, stride);
}

}  // namespace iwseg::IWSEG_BACKEND
