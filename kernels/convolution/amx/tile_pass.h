#pragma once

#include <cstdint>
#include <vector>

#include "kernels/convolution/amx/pass_terms.h"
#include "kernels/convolution/epilogue.h"
#include "kernels/convolution/geometry.h"
#include "kernels/device/declare.h"

namespace iwseg::cpu {

/// A pass of a convolution by tiles that writes a tensor: forward, or the gradient of its source. Both tensors lie in
/// blocks of 16 channels. Each result is a sum in one order, whoever computes it.
///
/// Work is cut into items: some planes, rows and blocks of 16 outputs of a sample. An item's slab (slab.h) is filled
/// once, of which it is the larger the better, as its rim is filled for its neighbours too, but is to stay in the
/// second cache. Then, for two blocks of outputs at a time, whose weights stay there as well, tiles of voxels pass.
class TilePass {
  public:
    TilePass(const ConvolutionGeometry& geometry, bool data_gradient);

    std::int64_t packed_bytes() const;
    std::int64_t slab_bytes() const { return slab_.bytes(); }  ///< for each thread
    /// weights: the convolution's own (O, C, kernel).
    void pack(Stream stream, const float* weights, char* packed) const;

    struct Operands {
        View read, written;  ///< f32 or bf16, blocked16
        const char* packed;
        const float* bias;  ///< of the written channels, or null
        bool accumulate;
        char* slabs;
        int slots;  ///< slabs there are
        EpilogueForm form = {};
        Epilogue epilogue = {};
    };
    void run(Stream stream, const TileProducts& products, const Operands& operands) const;

  private:
    /// What an item is of.
    struct Item {
        std::int64_t sample;
        SlabRange planes, rows, blocks;
    };
    Slab best_slab() const;
    std::int64_t items() const;
    Item item(std::int64_t number) const;
    SlabRange terms_at(const PassClass& of, std::int64_t plane) const;
    void run_item(const TileProducts& products, const Operands& operands, const Item& item, char* slab) const;
    void run_class(const TileProducts& products, const Operands& operands, const Item& item, const PassClass& of,
                   SlabRange blocks, const char* slab) const;
    ConvolutionGeometry geometry_;
    bool data_gradient_;
    std::int64_t inputs_, outputs_, output_blocks_;
    Slab slab_;
    std::int64_t blocks_of_item_;
    std::vector<PassClass> classes_;
};

}  // namespace iwseg::cpu
