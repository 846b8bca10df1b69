#pragma once

#include <cstdint>

#include "kernels/convolution/taps/vectors.h"

/// The innermost part of a convolution of any kernel in channel-blocked layout: the sums of one or several blocks of
/// output channels at a tile of neighbouring positions, held in registers from the first product to the last.
namespace iwseg::cpu {

/// One tap at one block of source channels.
struct Tap {
    std::int64_t src;      ///< elements from the tile's first position to what the tap reads for it
    std::int64_t weights;  ///< elements from the first weights to those of the tap
};

struct TapTileInput {
    const void* src;      ///< of f32, or bf16 for tiles of pairs: S channels, position after position
    const void* weights;  ///< (S, outputs) for each tap; of pairs (S / 2, outputs, 2) of bf16
    const Tap* taps;
    std::int64_t count;
    std::int64_t row;  ///< elements of src from one row of the tile to the next
    bool add;          ///< to what lies in sums; else they are overwritten
};

/// Makes (rows, voxels, outputs) sums.
using TapTile = void (*)(const TapTileInput& input, float* sums);

/// What a tile is compiled for.
struct TapTileKind {
    Vectors vectors;
    int outputs;             ///< channels: 8, 16 or, but for AVX2, 32
    int src_block;           ///< S: 8 or 16 channels side by side, or 1 plain channel; 16 only with 16 or 32 outputs
    bool pairs;              ///< of bf16, for AVX-512 with S = 16
    bool depthwise = false;  ///< each channel by itself, S = outputs = 8 or 16; weights are (outputs) for each tap
};

struct TapTileSize {
    int rows, voxels;
};

/// Positions and output channels that a tile has at most.
constexpr int kTapTilePositions = 14, kTapTileOutputs = 32;

/// Output channels that a tile of these vectors has at most.
int most_tap_outputs(Vectors vectors);
/// The rows, and at most how many voxels of each, that tiles of rows of this width should have.
TapTileSize largest_tap_tile(const TapTileKind& kind, std::int64_t width);
/// The code of a tile of at most that size.
TapTile tap_tile(const TapTileKind& kind, TapTileSize size);

/// Whether the processor multiplies pairs of bf16.
bool tap_pairs_work();

// One file each, for the compiler's sake.
TapTile tap_tile_of_eight(const TapTileKind& kind, TapTileSize size);
TapTile tap_tile_avx512(const TapTileKind& kind, TapTileSize size);
TapTile tap_tile_pairs(int outputs, TapTileSize size);

}  // namespace iwseg::cpu
