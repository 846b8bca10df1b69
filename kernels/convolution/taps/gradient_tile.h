#pragma once

#include <cstdint>

#include "kernels/convolution/taps/vectors.h"

/// The innermost part of the gradient of weights: for eight pairs of an input channel and a tap, their sums with one or
/// two vectors of output channels, held in registers while rows of positions pass. Depthwise, for eight taps, the sums
/// of a vector of input channels with the same output channels.
namespace iwseg::cpu {

constexpr int kGradientTileInputs = 8;

struct GradientTileInput {
    /// What each pair has at the first position. An element is an f32 or, for tiles of pairs, the bf16 of two
    /// positions.
    const void* src[kGradientTileInputs];
    const void* diff[2];               ///< a vector's gradient there
    std::int64_t src_step, diff_step;  ///< elements from a position, or two, to the next
    std::int64_t src_row, diff_row;    ///< elements from a row to the next
    std::int64_t rows, positions;      ///< positions, or twos of them, of a row
};

/// Adds to sums (8, vectors, lanes).
using GradientTile = void (*)(const GradientTileInput& input, float* sums);

struct GradientTileKind {
    Vectors vectors;
    int lanes;  ///< output channels of a vector: 8 or, but for AVX2, 16
    int count;  ///< vectors: 1 or, but for AVX2, 2
    bool pairs;
    bool depthwise = false;  ///< each lane has an input channel of its own; one vector
};

GradientTile gradient_tile(const GradientTileKind& kind);

}  // namespace iwseg::cpu
