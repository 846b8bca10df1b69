#pragma once

#include <cstdint>

#include "kernels/convolution/taps/vectors.h"

/// The innermost part of a Winograd convolution: at one position (transforms.h) the sums of one or two blocks of output
/// channels at neighbouring tiles, over depths and input channels, held in registers from the first product to the
/// last.
namespace iwseg::cpu {

constexpr int kWinogradDepths = 3;  ///< at most

/// Operands are f32, or bf16 in pairs of neighbouring inputs (winograd_pair_product).
struct WinogradProductInput {
    const void* src[kWinogradDepths];      ///< of each depth: (block, tile, L), the first tile's
    const void* weights[kWinogradDepths];  ///< of each depth: (input, outputs), or (pair of inputs, outputs, 2)
    int depths;
    std::int64_t blocks;     ///< of input channels
    std::int64_t src_block;  ///< elements from a block's tiles to the next block's
};

/// Overwrites (output block, tile, L); sum_block: elements from an output block's sums to the next's.
using WinogradProduct = void (*)(const WinogradProductInput& input, float* sums, std::int64_t sum_block);

/// Tiles that are taken together, at most, with so many blocks of outputs.
int most_winograd_tiles(Vectors vectors, int output_blocks);
/// block: L, 8 or 16; 16 not for AVX2. output_blocks: 1 or 2.
WinogradProduct winograd_product(Vectors vectors, std::int64_t block, int output_blocks, int tiles);

/// Whether pairs of bf16 can be multiplied here, in blocks of 16: by AVX-512 with its bf16 extension.
bool winograd_pairs_work();
/// Of operands that are bf16: two products and their sum are one instruction. As the processor's is, that of so many
/// sums is rounded otherwise than two of f32.
WinogradProduct winograd_pair_product(int output_blocks, int tiles);

}  // namespace iwseg::cpu
