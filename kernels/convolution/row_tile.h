#pragma once

#include <cstdint>

#include "kernels/device/view.h"

/// The innermost part of a 3x3x3 convolution in channel-blocked layout: one block of output channels at a tile of
/// neighbouring voxels, held in registers from the first product to the last. For processors with AVX-512.
namespace iwseg::cpu {

/// A sample of the source and the weights that make one block of output channels of it.
struct RowTileInput {
    const float* src;      ///< (blocks, D, H, W, B)
    const float* weights;  ///< (blocks, kd, kh, B input channels, kw, B output channels)
    std::int64_t blocks;   ///< of input channels
    std::int64_t depth, height, width;
};

struct RowTilePlace {
    std::int64_t z, y, x;
};

/// Writes rows x voxels x B sums of the tile that begins at a place. Rows beyond the volume are sums of what the volume
/// has there, and mean nothing.
using RowTile = void (*)(const RowTileInput& input, const RowTilePlace& place, float* sums);

struct RowTileSize {
    int rows, voxels;
};

/// Sums a tile holds at most; a row's scratch on the stack.
constexpr int kRowTileVoxels = 26;

/// How many rows a tile of a volume of this width should have, and at most how many voxels of each.
RowTileSize largest_row_tile(std::int64_t width);

/// The code for a tile; block is 8 or 16, the size within largest_row_tile of some width.
RowTile row_tile(std::int64_t block, RowTileSize size);

/// Whether the processor can run it.
bool row_tiles_work();

}  // namespace iwseg::cpu
