#pragma once

#include <stdexcept>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/device/view.h"

// Threads over (n, d, h, w, pack of channels). A block takes consecutive places of one plane (n, d): neighbours in a
// warp read side by side, no division is of 64 bits, and of a plane only the last block has threads without a place.
// Blocks that end with a row would be half empty where it holds a little more than their threads, as upsample's 65
// cells of two packs.
namespace iwseg::IWSEG_BACKEND {

constexpr int kCellThreads = 128;

struct Cells {
    unsigned d, h, w, packs, blocks;  ///< blocks: of a plane
};

struct Cell {
    int n, d, h, w, pack;
    bool inside;
};

__device__ __forceinline__ Cell cell_of(const Cells& cells) {
    const unsigned plane = blockIdx.x / cells.blocks, in_row = cells.w * cells.packs;
    const unsigned place = (blockIdx.x - plane * cells.blocks) * kCellThreads + threadIdx.x;
    const unsigned h = place / in_row, at = place - h * in_row, w = at / cells.packs, n = plane / cells.d;
    return {static_cast<int>(n), static_cast<int>(plane - n * cells.d),  static_cast<int>(h),
            static_cast<int>(w), static_cast<int>(at - w * cells.packs), h < cells.h};
}

inline Cells cells_of(const Shape& shape, int width) {
    const std::int64_t packs = shape.c / width, plane = shape.h * shape.w * packs;
    if (plane > 0x7FFFFFFF) throw std::invalid_argument("a tensor of larger planes than one launch takes");
    return {static_cast<unsigned>(shape.d), static_cast<unsigned>(shape.h), static_cast<unsigned>(shape.w),
            static_cast<unsigned>(packs), static_cast<unsigned>((plane + kCellThreads - 1) / kCellThreads)};
}

inline LaunchShape grid_of(const Cells& cells, std::int64_t samples) {
    const std::int64_t blocks = samples * cells.d * cells.blocks;
    if (blocks > 0x7FFFFFFF) throw std::invalid_argument("a tensor of more planes than one launch takes");
    return {static_cast<unsigned>(blocks), kCellThreads};
}

/// The same memory with channels innermost: plain channels are as many samples of one.
inline Shape innermost(const View& view, const char* operation) {
    const Shape& s = view.shape;
    if (view.layout == Layout::ndhwc) return s;
    if (view.layout == Layout::ncdhw) return {s.n * s.c, 1, s.d, s.h, s.w};
    throw std::invalid_argument(std::string(operation) + ": expected layout ndhwc or ncdhw");
}

}  // namespace iwseg::IWSEG_BACKEND
