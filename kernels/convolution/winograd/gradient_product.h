#pragma once

#include <cstdint>

#include "kernels/convolution/taps/vectors.h"

/// The innermost part of the gradient of weights by Winograd's transforms: at one position (transforms.h) the sums over
/// tiles of a block of input channels with one or two blocks of output channels, held in registers while tiles pass.
namespace iwseg::cpu {

/// Planes that are summed over together, at most.
constexpr int kWinogradGradientPlanes = 64;

struct WinogradGradientInput {
    const float* src[kWinogradGradientPlanes];   ///< of each plane: (tile, L inputs)
    const float* diff[kWinogradGradientPlanes];  ///< of each plane: (tile, L outputs)
    int planes;
    std::int64_t tiles;       ///< of a plane
    std::int64_t diff_block;  ///< elements from a block of outputs to the next
};

/// Adds to (output block, input, output).
using WinogradGradientProduct = void (*)(const WinogradGradientInput& input, float* sums);

/// block: L, 8 or 16; 16 not for AVX2. output_blocks: 1, or 2 with blocks of 8.
WinogradGradientProduct winograd_gradient_product(Vectors vectors, std::int64_t block, int output_blocks);

}  // namespace iwseg::cpu
