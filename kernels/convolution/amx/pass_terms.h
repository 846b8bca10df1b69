#pragma once

#include <cstdint>
#include <vector>

#include "kernels/convolution/amx/slab.h"
#include "kernels/convolution/amx/tile_products.h"

namespace iwseg::cpu {

/// What the halves of a term's 32 products are with: 16 channels of what is read by one tap; -1: no tap, zeros.
struct TermWeights {
    int tap[2];
    std::int64_t channel[2];
};

/// The results of one class along each axis: where their voxels lie in the slab, in the order in which they are added.
struct PassClass {
    AxisClass d, h, w;
    std::vector<TileTerm> terms;       ///< taps along d outermost, so that those within the volume are neighbours
    std::vector<TermWeights> weights;  ///< of each term
    std::int64_t packed_at = 0;        ///< of its packed weights, in bytes: (output blocks, terms, a tile)

    std::int64_t terms_of_plane() const { return d.taps ? static_cast<std::int64_t>(terms.size()) / d.taps : 0; }
    std::int64_t block_bytes() const { return static_cast<std::int64_t>(terms.size()) * kTileBytes; }
};

/// All of a pass. taps of an axis: of the whole kernel.
std::vector<PassClass> classes_of(const Slab& slab, int taps_h, int taps_w, std::int64_t output_blocks);

/// How plain weights, f32, lie for a pass: an output's to an input's by a tap at output * of_output + input * of_input
/// + tap.
struct PlainWeights {
    const float* weights;
    std::int64_t outputs, inputs, taps, of_output, of_input;
};

/// Those of a class and a block of 16 outputs, rounded to bf16: for each term (16 pairs of products, 16 outputs, 2).
void pack_tiles(const PassClass& of, const PlainWeights& plain, std::int64_t output_block, char* packed);

}  // namespace iwseg::cpu
