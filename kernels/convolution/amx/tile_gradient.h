#pragma once

#include <cstdint>

#include "kernels/convolution/amx/gradient_slab.h"
#include "kernels/convolution/amx/tile_products.h"
#include "kernels/convolution/geometry.h"
#include "kernels/device/declare.h"

namespace iwseg::cpu {

/// The gradient of a convolution's weights by tiles, of tensors in blocks of 16 channels. A product sums over 32
/// voxels, for 16 channels of either tensor and one tap.
///
/// Work is cut into items, by the shape alone: some blocks of either tensor and a chunk of the planes of all samples,
/// each with sums of its own, which are added up in the order of the chunks: the same bytes on any number of threads.
class TileGradient {
  public:
    explicit TileGradient(const ConvolutionGeometry& geometry);

    std::int64_t sums_bytes() const;
    std::int64_t slab_bytes() const { return slab_.bytes(); }  ///< for each thread

    struct Operands {
        View src, diff_dst;   ///< f32 or bf16, blocked16
        float* diff_weights;  ///< (O, C, kernel), overwritten
        char* sums;
        char* slabs;
        int slots;  ///< slabs there are
    };
    void run(Stream stream, const TileProducts& products, const Operands& operands) const;

  private:
    /// Some blocks of both tensors.
    struct Item {
        SlabRange src, diff;
        std::int64_t chunk;
    };
    std::int64_t groups_of_src() const { return (src_blocks_ + slab_.src_blocks - 1) / slab_.src_blocks; }
    std::int64_t groups_of_diff() const { return (diff_blocks_ + slab_.diff_blocks - 1) / slab_.diff_blocks; }
    std::int64_t item_elements() const;
    Item item(std::int64_t number) const;
    void run_item(const TileProducts& products, const Operands& operands, const Item& item, char* slab,
                  float* sums) const;
    void add_plane(const TileProducts& products, const Item& item, std::int64_t plane, std::int64_t z,
                   std::int64_t tiles, const char* slab, float* sums) const;
    void add_up(const Operands& operands, std::int64_t diff_block, std::int64_t src_block) const;

    ConvolutionGeometry geometry_;
    std::int64_t src_blocks_, diff_blocks_, planes_, chunks_;
    GradientSlab slab_;
};

}  // namespace iwseg::cpu
