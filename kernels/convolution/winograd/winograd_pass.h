#pragma once

#include <cstdint>

#include "kernels/convolution/epilogue.h"
#include "kernels/convolution/geometry.h"
#include "kernels/convolution/winograd/product.h"
#include "kernels/convolution/winograd/tile_regions.h"
#include "kernels/convolution/winograd/transforms.h"
#include "kernels/device/declare.h"

namespace iwseg::cpu {

/// A pass of a 3x3x3 or 1x3x3 convolution that writes a tensor, by Winograd's F(2x2, 3x3) over height and width:
/// forward, or the gradient of its source, which is the same with the kernel mirrored and channels exchanged. Both
/// tensors are of f32 in blocks of L channels. The taps of depth are summed as they are.
///
/// Counted for a block of inputs at a tile of four results, with O outputs, in vector instructions of L lanes: 48 O
/// multiplications for a kernel of three planes where the direct sum has 108 O, 2.25 times as many. Beside them
/// the source's transform is 24 additions, 8 loads and 16 stores for each plane; for each block of outputs the
/// result's is 24 additions, 16 loads and 20 stores, after the sums' 16 stores. Where loads, stores and additions run
/// beside each other that is about 36 cycles of 48 O for each block of inputs and 64 of 48 C for each of outputs:
/// together 13 % at 16 channels, 3 % at 64.
///
/// Bytes: a transformed plane is four times as large as the source's, transformed weights are 1.78 times as large. Work
/// is cut into items: a region of tiles of all planes of a range (samples' planes one after another), and some blocks
/// of outputs; more of them for more threads. Which item a result is in changes nothing of how it is summed, so that
/// results are the same bytes on any number of threads. An item goes from step to step through its planes, some 64
/// tiles a step. It transforms each plane that it reads once, into a ring; items of neighbouring ranges both transform
/// the planes between them, and those of other outputs the same planes anew. Then, position by position, all sums are
/// made of what the planes have there: (64, 3 C) x (3 C, O) products, which read a vector of weights for each 64
/// multiplications, 1 byte a cycle, from the third cache, and the planes' tiles once from the second or third.
class WinogradPass {
  public:
    /// threads: that run() will have; with more, others than so many have nothing to do.
    WinogradPass(const ConvolutionGeometry& geometry, std::int64_t block, bool data_gradient, Vectors vectors,
                 int threads);

    /// Of packed weights and of what each thread has of an item.
    std::int64_t scratch_bytes() const;
    /// weights: the convolution's own (O, C, kernel), packed into the scratch that run() reads them from.
    void pack(Stream stream, const float* weights, float* scratch) const;
    /// bias: of the written channels, or null. Accumulates to what lies in `written`.
    void run(Stream stream, View read, const float* bias, bool accumulate, View written, float* scratch,
             const EpilogueForm& form = {}, const Epilogue& epilogue = {}) const;

  private:
    struct Operands {
        const float* read;
        const float* packed;
        const float* bias;
        bool accumulate;
        float* written;
        EpilogueForm form;
        Epilogue epilogue;
    };
    /// Ranges are from a first to before a last: planes of all samples, one after another, and blocks of outputs.
    struct Item {
        WinogradTiles tiles;
        std::int64_t first_plane, last_plane, first_block, last_block;
    };
    struct Buffers;

    std::int64_t items() const { return output_parts_ * regions_.count() * plane_ranges_; }
    Item item(std::int64_t index) const;
    std::int64_t packed_elements() const { return kWinogradPositions * weights_position(); }
    /// Of all buffers of a thread, whichever item it has.
    std::int64_t worker_elements() const;
    Buffers buffers_of(const Item& item, float* memory) const;
    void run_item(const Operands& operands, const Item& item, float* memory) const;
    void transform_plane(const Operands& operands, const Item& item, const Buffers& buffers, std::int64_t plane) const;
    void multiply(const Operands& operands, const Item& item, const Buffers& buffers, std::int64_t first,
                  std::int64_t last) const;
    void finish(const Operands& operands, const Item& item, const Buffers& buffers, std::int64_t first,
                std::int64_t last) const;
    /// Blocks of outputs whose weights lie together, from this one on.
    int together(std::int64_t block) const { return block + 1 < output_blocks_ ? 2 : 1; }
    std::int64_t weights_position() const;

    ConvolutionGeometry geometry_;
    std::int64_t block_;
    bool data_gradient_;
    Vectors vectors_;
    WinogradTransforms transforms_;
    std::int64_t inputs_, outputs_, input_blocks_, output_blocks_;
    TileRegions regions_;
    std::int64_t plane_ranges_, output_parts_, workers_;
};

}  // namespace iwseg::cpu
