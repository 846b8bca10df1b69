#include "kernels/components/components.h"

#include <cstdint>
#include <stdexcept>

#include "kernels/components/mask_cells.cuh"
#include "kernels/cuda/prefix_sum.h"
#include "kernels/device/dispatch.h"

// After the union-find of mask_cells.cuh, consecutive numbers in raster order. A component's first voxel need not
// lie in its root cell, as cells are two voxels deep: the root keeps the smallest voxel of its cells. One bit a voxel
// marks those, and a component's label is the number of bits before its own: set bits are counted by words of 32, whose
// prefix sums are taken, and within the word. Labels are cleared first and written where there is foreground.
// Moved, beside what the list costs: 1 byte a voxel of mask, 4 of labels, a half of bits and their sums.
namespace iwseg::IWSEG_BACKEND {
namespace {

struct Ranks {
    std::int32_t*
        firsts;  ///< (N, cells): the smallest voxel, of roots that of the component; null where cells are voxels
    std::uint32_t* marks;   ///< (N, words): a bit a voxel
    std::uint32_t* before;  ///< (N, words): marks in earlier words, of earlier volumes too
    std::int64_t words;
};

__device__ __forceinline__ std::int32_t first_of(const Ranks& ranks, std::int64_t place, std::int32_t cell) {
    return ranks.firsts ? ranks.firsts[place + cell] : cell;
}

template <int W>
__global__ void __launch_bounds__(kMaskThreads) find_kernel(MaskCells cells, const std::uint8_t* mask, Ranks ranks) {
    std::int32_t* firsts = ranks.firsts ? ranks.firsts + blockIdx.y * cells.count() : nullptr;
    find_cells<W>(cells, mask, [&](std::int32_t cell, std::uint8_t bits) {
        if (firsts)
            firsts[cell] = static_cast<std::int32_t>(first_voxel_of(cells, cell) + offset_of(cells, __ffs(bits) - 1));
    });
}

/// Every cell's parent becomes its root, and the root learns the component's first voxel.
__global__ void __launch_bounds__(kMaskThreads) flatten_kernel(MaskCells cells, Ranks ranks) {
    const std::int64_t n = blockIdx.y, all = cells.count();
    for (std::int64_t i = std::int64_t{blockIdx.x} * kMaskThreads + threadIdx.x; i < cells.listed[n];
         i += std::int64_t{gridDim.x} * kMaskThreads) {
        // Not shortening the path: that could store an ancestor over the root that another thread has just stored.
        const std::int32_t cell = cells.list[n * all + i], root = root_of<false>(cells.parents + n * all, cell);
        if (root == cell) continue;
        relaxed_store(cells.parents + n * all + cell, root);  // other threads walk by it
        if (!ranks.firsts) continue;
        std::int32_t* of_root = ranks.firsts + n * all + root;
        const std::int32_t own = ranks.firsts[n * all + cell];
        if (own < relaxed_load(of_root)) atomicMin(of_root, own);  // mostly it is not, and an atomic is saved
    }
}

__global__ void __launch_bounds__(kMaskThreads) mark_kernel(MaskCells cells, Ranks ranks, std::int32_t* counts) {
    const std::int64_t n = blockIdx.y, all = cells.count();
    std::int32_t roots = 0;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kMaskThreads + threadIdx.x; i < cells.listed[n];
         i += std::int64_t{gridDim.x} * kMaskThreads) {
        const std::int32_t cell = cells.list[n * all + i];
        if (cells.parents[n * all + cell] != cell) continue;
        const std::int32_t first = first_of(ranks, n * all, cell);
        atomicOr(ranks.marks + n * ranks.words + first / 32, 1u << first % 32);
        ++roots;
    }
    roots = block_sum<kMaskThreads>(roots);
    if (threadIdx.x == 0 && roots > 0) atomicAdd(counts + n, roots);
}

__global__ void __launch_bounds__(kMaskThreads) count_marks_kernel(Ranks ranks, std::int64_t words) {
    for (std::int64_t i = std::int64_t{blockIdx.x} * kMaskThreads + threadIdx.x; i < words;
         i += std::int64_t{gridDim.x} * kMaskThreads)
        ranks.before[i] = static_cast<std::uint32_t>(__popc(ranks.marks[i]));
}

__global__ void __launch_bounds__(kMaskThreads) label_kernel(MaskCells cells, Ranks ranks, std::int32_t* labels) {
    const std::int64_t n = blockIdx.y, all = cells.count();
    const std::uint32_t* marks = ranks.marks + n * ranks.words;
    const std::uint32_t* before = ranks.before + n * ranks.words;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kMaskThreads + threadIdx.x; i < cells.listed[n];
         i += std::int64_t{gridDim.x} * kMaskThreads) {
        const std::int32_t cell = cells.list[n * all + i];
        const std::int32_t first = first_of(ranks, n * all, cells.parents[n * all + cell]);
        const unsigned in_word = __popc(marks[first / 32] & ((1u << first % 32) - 1));
        const std::uint32_t label = before[first / 32] - before[0] + in_word + 1;
        label_voxels(cells, n, cell, cells.bytes[n * all + cell], static_cast<std::int32_t>(label), labels);
    }
}

Ranks ranks_in(ScratchParts& scratch, const MaskCells& cells) {
    Ranks ranks{};
    ranks.words = (cells.shape.voxels() + 31) / 32;
    if (cells.edge == 2) ranks.firsts = scratch.take<std::int32_t>(cells.shape.n * cells.count());
    ranks.marks = scratch.take<std::uint32_t>(cells.shape.n * ranks.words);
    ranks.before = scratch.take<std::uint32_t>(cells.shape.n * ranks.words);
    return ranks;
}

}  // namespace

std::int64_t components_scratch_bytes(const Shape& mask, int connectivity) {
    ScratchParts parts(nullptr);
    const Ranks ranks = ranks_in(parts, cells_in(parts, mask, edge_of(connectivity), 1));
    return parts.bytes() + prefix_sum_scratch_bytes(mask.n * ranks.words);
}

void label_components(Stream stream, View mask, View labels, std::int32_t* counts, int connectivity, void* scratch) {
    require_mask(mask, connectivity, "label_components");
    require_same(mask, labels, "label_components");
    if (labels.type != Type::i32) throw std::invalid_argument("label_components: labels are i32");
    const Shape& shape = mask.shape;
    ScratchParts parts(scratch);
    const MaskCells cells = cells_in(parts, shape, edge_of(connectivity), 1);
    const Ranks ranks = ranks_in(parts, cells);
    const std::int64_t words = shape.n * ranks.words;
    auto* for_prefix_sum = parts.take<char>(prefix_sum_scratch_bytes(words));
    set_zero(stream, cells.listed, shape.n * static_cast<std::int64_t>(sizeof(std::int32_t)));
    set_zero(stream, counts, shape.n * static_cast<std::int64_t>(sizeof(std::int32_t)));
    set_zero(stream, ranks.marks, words * static_cast<std::int64_t>(sizeof(std::uint32_t)));
    set_zero(stream, labels.data, bytes_of(shape, Type::i32, Layout::ncdhw));
    const auto* voxels = mask.as<const std::uint8_t>();
    const int at_once = cells_at_once(cells, voxels);
    launch(at_once == 8 ? find_kernel<8> : find_kernel<1>, over_cells(cells, at_once), stream, cells, voxels, ranks);
    join_cells(stream, cells, connectivity);
    launch(flatten_kernel, over_list(cells), stream, cells, ranks);
    launch(mark_kernel, over_list(cells), stream, cells, ranks, counts);
    launch(count_marks_kernel, {blocks_for(words, kMaskThreads), kMaskThreads}, stream, ranks, words);
    prefix_sum(stream, ranks.before, words, for_prefix_sum);
    launch(label_kernel, over_list(cells), stream, cells, ranks, labels.as<std::int32_t>());
}

}  // namespace iwseg::IWSEG_BACKEND
