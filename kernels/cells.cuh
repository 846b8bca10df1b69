#pragma once

#include <stdexcept>
#include <string>

#include "kernels/launch.h"
#include "kernels/view.h"

// Threads over (n, d, h, w, pack of channels). A block takes a stretch of one row (n, d, h): neighbours in a warp read
// side by side, and no division is of 64 bits.
namespace iwseg::IWSEG_BACKEND {

constexpr int kCellThreads = 128;

struct Cells {
    unsigned d, h, w, packs, stretches;  ///< stretches: blocks that share a row
};

struct Cell {
    int n, d, h, w, pack;
    bool inside;
};

__device__ __forceinline__ Cell cell_of(const Cells& cells) {
    unsigned at = blockIdx.x;
    const unsigned in_row = at % cells.stretches * kCellThreads + threadIdx.x, w = in_row / cells.packs;
    at /= cells.stretches;
    const unsigned h = at % cells.h;
    at /= cells.h;
    const unsigned d = at % cells.d, n = at / cells.d;
    return {static_cast<int>(n), static_cast<int>(d), static_cast<int>(h), static_cast<int>(w),
            static_cast<int>(in_row - w * cells.packs), w < cells.w};
}

inline Cells cells_of(const Shape& shape, int width) {
    const std::int64_t packs = shape.c / width;
    return {static_cast<unsigned>(shape.d), static_cast<unsigned>(shape.h), static_cast<unsigned>(shape.w),
            static_cast<unsigned>(packs), static_cast<unsigned>((shape.w * packs + kCellThreads - 1) / kCellThreads)};
}

inline LaunchShape grid_of(const Cells& cells, std::int64_t samples) {
    const std::int64_t blocks = samples * cells.d * cells.h * cells.stretches;
    if (blocks > 0x7FFFFFFF) throw std::invalid_argument("a tensor of more rows than one launch takes");
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
