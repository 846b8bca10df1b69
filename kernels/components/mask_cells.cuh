#pragma once

#include <cstdint>

#include "kernels/components/components.h"
#include "kernels/components/ignored.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/device/memory.h"

// Connected components on the GPU, the part that labels and weights share: a union-find whose elements are cells.
//
// For connectivity 26 a cell is a block of 2 x 2 x 2 voxels, all adjacent to each other; what lies in it is a byte, and
// two cells join where both have foreground on the side they share (Allegretti et al., IEEE TPDS 2019). For 6 and 18 a
// cell is a voxel. Bits of a cell, z down, y and x:      0 1   4 5
//                                                        2 3   6 7
//
//   1. find_cells reads the mask, one byte a voxel, writes a byte a cell, and appends cells with foreground to a list.
//      All that follows runs over the list: it costs as much as there are lesions. Nothing else of a volume is moved.
//   2. join_cells joins every cell of the list with its 13 earlier neighbours, a launch's z a neighbour.
//   3. Whoever needs the components walks the list again, with root_of.
//
// The list's order differs from run to run, the roots do not: of two roots the larger is hung below the smaller, so
// that a component's root is its smallest cell. A hook is a compare-and-swap, tried again where someone was faster;
// walks shorten the paths they take, which is safe because only roots are hooked (Jaiganesh and Burtscher, HPDC 2018).
namespace iwseg::IWSEG_BACKEND {

constexpr int kMaskThreads = 256;

/// The cells of N volumes, and where their state lies. Indices of cells are within a volume.
struct MaskCells {
    Shape shape;               ///< of the mask
    int edge;                  ///< 1 or 2 voxels
    int depth, height, width;  ///< of a volume, in cells
    std::uint8_t* bytes;       ///< (N, cells): which of a cell's voxels are foreground
    std::int32_t* parents;     ///< (N, cells): a cell's parent; of cells with foreground
    std::int32_t* list;        ///< (N, cells): the cells with foreground, in any order
    std::int32_t* listed;      ///< (N): how many those are; after it what else the caller counts, N numbers of each

    IWSEG_HOST_DEVICE std::int64_t count() const { return std::int64_t{depth} * height * width; }
};

inline int edge_of(int connectivity) {
    return connectivity == 26 ? 2 : 1;
}

/// Hands out scratch part by part, each aligned to 256 bytes; given null it only counts.
class ScratchParts {
  public:
    explicit ScratchParts(void* scratch) : scratch_(static_cast<char*>(scratch)) {}
    template <class T>
    T* take(std::int64_t count) {
        T* part = scratch_ ? reinterpret_cast<T*>(scratch_ + bytes_) : nullptr;
        bytes_ += (count * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
        return part;
    }
    std::int64_t bytes() const { return bytes_; }

  private:
    char* scratch_;
    std::int64_t bytes_ = 0;
};

/// counters: kinds of things counted, cells of the list among them.
inline MaskCells cells_in(ScratchParts& scratch, const Shape& shape, int edge, int counters) {
    const auto across = [&](std::int64_t side) { return static_cast<int>((side + edge - 1) / edge); };
    MaskCells cells{shape, edge, across(shape.d), across(shape.h), across(shape.w), nullptr, nullptr, nullptr, nullptr};
    cells.bytes = scratch.take<std::uint8_t>(shape.n * cells.count());
    cells.parents = scratch.take<std::int32_t>(shape.n * cells.count());
    cells.list = scratch.take<std::int32_t>(shape.n * cells.count());
    cells.listed = scratch.take<std::int32_t>(shape.n * counters);
    return cells;
}

/// Place of a cell's first voxel, bit 0 of its byte, in its volume.
__device__ __forceinline__ std::int64_t first_voxel_of(const MaskCells& cells, std::int32_t cell) {
    const std::int32_t x = cell % cells.width, y = cell / cells.width % cells.height,
                       z = cell / cells.width / cells.height;
    return ((std::int64_t{z} * cells.edge) * cells.shape.h + std::int64_t{y} * cells.edge) * cells.shape.w +
           std::int64_t{x} * cells.edge;
}

/// How far the voxel of a bit lies after its cell's first.
__device__ __forceinline__ std::int64_t offset_of(const MaskCells& cells, int bit) {
    return ((bit >> 2) * cells.shape.h + (bit >> 1 & 1)) * cells.shape.w + (bit & 1);
}

// ----------------------------------------------------------------------------------------------------------------------

/// Places for `wanted` elements in what `counter` counts, the whole warp's at once.
__device__ __forceinline__ std::int32_t reserve(std::int32_t* counter, std::int32_t wanted) {
    if (!__any_sync(kAllLanes, wanted)) return 0;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    std::int32_t until = wanted;
#pragma unroll
    for (int by = 1; by < 32; by *= 2) {
        const std::int32_t before = __shfl_up_sync(kAllLanes, until, static_cast<unsigned>(by));
        if (lane >= by) until += before;
    }
    std::int32_t first = 0;
    if (lane == 31) first = atomicAdd(counter, until);
    return __shfl_sync(kAllLanes, first, 31) + until - wanted;
}

/// Bit 0 of each byte that is not zero.
__device__ __forceinline__ unsigned nonzero_bytes(unsigned bytes) {
    return ((((bytes & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | bytes) >> 7) & 0x01010101u;
}

/// Bit 0 of each byte that is foreground. kIgnoring: those that are kIgnored are not, and are counted.
template <bool kIgnoring>
__device__ __forceinline__ unsigned foreground_bytes(unsigned bytes, std::int32_t& ignored) {
    const unsigned nonzero = nonzero_bytes(bytes);
    if (!kIgnoring || nonzero == 0) return nonzero;
    static_assert(kIgnored == 0xFF);
    const unsigned known = nonzero_bytes(~bytes);
    ignored += 4 - __popc(known);
    return nonzero & known;
}

/// Eight cells of 2 x 2 x 2 in a row, from four rows of 16 voxels.
template <bool kIgnoring>
__device__ __forceinline__ Pack<std::uint8_t, 8> cells_of_rows(const uint4 (&rows)[4], std::int32_t& ignored) {
    Pack<std::uint8_t, 8> cells;
#pragma unroll
    for (int word = 0; word < 4; ++word) {
        unsigned pairs = 0;  // of each voxel the bits of its column: 0, 2, 4, 6
#pragma unroll
        for (int row = 0; row < 4; ++row) {
            const unsigned bytes = word == 0   ? rows[row].x
                                   : word == 1 ? rows[row].y
                                   : word == 2 ? rows[row].z
                                               : rows[row].w;
            pairs |= foreground_bytes<kIgnoring>(bytes, ignored) << 2 * row;
        }
        pairs |= pairs >> 7;  // odd voxels, a byte further, to bits 1, 3, 5, 7 of the even ones
        cells.values[2 * word] = static_cast<std::uint8_t>(pairs);
        cells.values[2 * word + 1] = static_cast<std::uint8_t>(pairs >> 16);
    }
    return cells;
}

/// A cell's byte, voxel by voxel; parts outside of the volume are background.
template <bool kIgnoring>
__device__ __forceinline__ std::uint8_t cell_of_voxels(const MaskCells& cells, const std::uint8_t* mask,
                                                       std::int32_t cell, std::int32_t& ignored) {
    const std::int32_t x = cell % cells.width, y = cell / cells.width % cells.height,
                       z = cell / cells.width / cells.height;
    mask += first_voxel_of(cells, cell);
    unsigned bits = 0;
    for (int bit = 0; bit < cells.edge * cells.edge * cells.edge; ++bit) {
        const bool inside = (bit & 1) + x * cells.edge < cells.shape.w &&
                            (bit >> 1 & 1) + y * cells.edge < cells.shape.h &&
                            (bit >> 2) + z * cells.edge < cells.shape.d;
        if (!inside || mask[offset_of(cells, bit)] == 0) continue;
        if (kIgnoring && mask[offset_of(cells, bit)] == kIgnored)
            ++ignored;
        else
            bits |= 1u << bit;
    }
    return static_cast<std::uint8_t>(bits);
}

/// W cells a thread, next to each other in x. W = 8 asks for cells of 2 and a mask whose width is a multiple of 16.
/// Of each cell with foreground, begin(cell, byte) sets the state that the caller keeps.
/// kIgnoring: voxels that are kIgnored are not foreground; returns how many of them the thread met.
template <int W, bool kIgnoring = false, class Begin>
__device__ __forceinline__ std::int32_t find_cells(const MaskCells& cells, const std::uint8_t* mask, Begin&& begin) {
    const std::int64_t n = blockIdx.y, all = cells.count(), step = std::int64_t{gridDim.x} * kMaskThreads * W;
    mask += n * cells.shape.voxels();
    std::int32_t ignored = 0;
    for (std::int64_t first = std::int64_t{blockIdx.x} * kMaskThreads * W; first < all; first += step) {
        const std::int64_t cell = first + threadIdx.x * W;  // whole warps go on: reserve needs them
        Pack<std::uint8_t, W> bytes = {};
        if (cell < all) {
            if constexpr (W == 8) {
                const auto c = static_cast<std::int32_t>(cell);
                const std::int32_t y = c / cells.width % cells.height, z = c / cells.width / cells.height;
                const std::uint8_t* from = mask + first_voxel_of(cells, c);
                uint4 rows[4] = {};
#pragma unroll
                for (int row = 0; row < 4; ++row)
                    if (2 * y + row % 2 < cells.shape.h && 2 * z + row / 2 < cells.shape.d)
                        rows[row] = load_16_bytes(from + offset_of(cells, 2 * row));
                bytes = cells_of_rows<kIgnoring>(rows, ignored);
            } else {
                bytes.values[0] = cell_of_voxels<kIgnoring>(cells, mask, static_cast<std::int32_t>(cell), ignored);
            }
            *reinterpret_cast<Pack<std::uint8_t, W>*>(cells.bytes + n * all + cell) = bytes;
        }
        std::int32_t found = 0;
#pragma unroll
        for (int i = 0; i < W; ++i) found += bytes.values[i] != 0;
        std::int32_t place = reserve(cells.listed + n, found);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            if (bytes.values[i] == 0) continue;
            const auto c = static_cast<std::int32_t>(cell + i);
            cells.list[n * all + place++] = c;
            cells.parents[n * all + c] = c;
            begin(c, bytes.values[i]);
        }
    }
    return ignored;
}

// ----------------------------------------------------------------------------------------------------------------------

/// The root of a cell's component as it is now. kShorten: points what it walks by to their grandparents; a store that
/// comes late still stores an ancestor, as nothing but a root is ever hooked.
template <bool kShorten = true>
__device__ __forceinline__ std::int32_t root_of(std::int32_t* parents, std::int32_t cell) {
    std::int32_t parent = relaxed_load(parents + cell);
    while (parent != cell) {
        const std::int32_t grandparent = relaxed_load(parents + parent);
        if (kShorten && grandparent != parent) relaxed_store(parents + cell, grandparent);
        cell = parent;
        parent = grandparent;
    }
    return cell;
}

__device__ __forceinline__ void join(std::int32_t* parents, std::int32_t a, std::int32_t b) {
    for (;;) {
        a = root_of(parents, a);
        b = root_of(parents, b);
        if (a == b) return;
        const std::int32_t larger = max(a, b), smaller = min(a, b);
        const std::int32_t found = atomicCAS(parents + larger, larger, smaller);
        if (found == larger) return;
        a = found;  // no root any more: someone hooked it first
        b = smaller;
    }
}

/// The bits of a cell of 2 x 2 x 2 on the side that faces a neighbour.
__device__ __forceinline__ unsigned side_towards(int dz, int dy, int dx) {
    unsigned side = 0xFF;
    if (dx != 0) side &= dx < 0 ? 0x55u : 0xAAu;
    if (dy != 0) side &= dy < 0 ? 0x33u : 0xCCu;
    if (dz != 0) side &= dz < 0 ? 0x0Fu : 0xF0u;
    return side;
}

/// steps: axes along which neighbours may differ, 1, 2 or 3 for connectivity 6, 18, 26.
static __global__ void __launch_bounds__(kMaskThreads) join_cells_kernel(MaskCells cells, int steps) {
    const std::int64_t n = blockIdx.y, all = cells.count();
    const int d = static_cast<int>(blockIdx.z), dz = d / 9 - 1, dy = d / 3 % 3 - 1, dx = d % 3 - 1;
    if ((dz != 0) + (dy != 0) + (dx != 0) > steps) return;
    const unsigned own_side = cells.edge == 2 ? side_towards(dz, dy, dx) : 1u;
    const unsigned other_side = cells.edge == 2 ? side_towards(-dz, -dy, -dx) : 1u;
    const std::uint8_t* bytes = cells.bytes + n * all;
    const std::int32_t listed = cells.listed[n], ahead = (dz * cells.height + dy) * cells.width + dx;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kMaskThreads + threadIdx.x; i < listed;
         i += std::int64_t{gridDim.x} * kMaskThreads) {
        const std::int32_t cell = cells.list[n * all + i];
        if (!(bytes[cell] & own_side)) continue;
        const std::int32_t x = cell % cells.width + dx, y = cell / cells.width % cells.height + dy;
        const std::int32_t z = cell / cells.width / cells.height + dz;
        if (x < 0 || x >= cells.width || y < 0 || y >= cells.height || z < 0) continue;
        if (bytes[cell + ahead] & other_side) join(cells.parents + n * all, cell, cell + ahead);
    }
}

/// Gives the voxels of a cell's bits, in volume n, a label.
__device__ __forceinline__ void label_voxels(const MaskCells& cells, std::int64_t n, std::int32_t cell, unsigned bits,
                                             std::int32_t label, std::int32_t* labels) {
    labels += n * cells.shape.voxels() + first_voxel_of(cells, cell);
    for (; bits != 0; bits &= bits - 1) labels[offset_of(cells, __ffs(static_cast<int>(bits)) - 1)] = label;
}

// ----------------------------------------------------------------------------------------------------------------------

/// The launch of a kernel that walks the list. Its length is known to the device alone: enough blocks for a long one,
/// and few enough that those of a short one are gone at once.
inline LaunchShape over_list(const MaskCells& cells, int deep = 1) {
    return {{blocks_for(cells.count(), kMaskThreads, deep > 1 ? 128 : 512), static_cast<unsigned>(cells.shape.n),
             static_cast<unsigned>(deep)},
            kMaskThreads};
}

/// The launch of a kernel that calls find_cells<W>.
inline LaunchShape over_cells(const MaskCells& cells, int at_once) {
    return {{blocks_for(cells.count(), kMaskThreads * at_once), static_cast<unsigned>(cells.shape.n)}, kMaskThreads};
}

/// How many cells find_cells can take at once.
inline int cells_at_once(const MaskCells& cells, const void* mask) {
    return cells.edge == 2 && cells.shape.w % 16 == 0 && reinterpret_cast<std::uintptr_t>(mask) % 16 == 0 ? 8 : 1;
}

inline void join_cells(Stream stream, const MaskCells& cells, int connectivity) {
    constexpr int kEarlierNeighbours = 13;  // of 26, the lexicographically first
    const int steps = connectivity == 6 ? 1 : connectivity == 18 ? 2 : 3;
    launch(join_cells_kernel, over_list(cells, kEarlierNeighbours), stream, cells, steps);
}

}  // namespace iwseg::IWSEG_BACKEND
