#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/convolution/convolution.h"
#include "kernels/convolution/winograd/product.h"
#include "kernels/convolution/winograd/tile_regions.h"
#include "kernels/convolution/winograd/transforms.h"
#include "kernels/device/declare.h"

namespace iwseg::cpu {

/// Slab by slab of planes a pass can go through a tensor of one sample, where those at the edges of slabs are
/// transformed twice.
struct WinogradSlabs {
    /// What is written, or the epilogue's result beside, may begin where that lies which is read, of as many blocks of
    /// channels or more: that result of a slab lies elsewhere until all items have read the source, of which the last
    /// plane is kept for the next slab. That is one more copy of the result.
    bool in_place = false;
    MadeChannels made = {};  ///< of the source, on the way: of two slabs at a time
};

/// A pass of a 3x3x3 or 1x3x3 convolution that writes a tensor, by Winograd's F(2x2, 3x3) over height and width:
/// forward, or the gradient of its source, which is the same with the kernel mirrored and channels exchanged. Both
/// tensors are of f32 or of bf16 in blocks of L channels. All is computed in f32, so that of bf16 only the result is
/// rounded; or, where the processor multiplies pairs of bf16, what is transformed is rounded to that and summed in f32,
/// for half the multiplications. The taps of depth are summed as they are.
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
    /// type: of both tensors. operands: what is multiplied (transforms.h). threads: that run() will have; with more,
    /// others than so many have nothing to do.
    WinogradPass(const ConvolutionGeometry& geometry, Type type, Type operands, std::int64_t block, bool data_gradient,
                 Vectors vectors, int threads, const WinogradSlabs& slabs = {});

    /// Of packed weights, of what each thread has of an item and of slabs.
    std::int64_t scratch_bytes() const;
    /// Planes whose first channels are made at once; 0: they are read as the others.
    std::int64_t made_planes() const { return made_blocks_ ? slab_planes_ : 0; }
    /// weights: the convolution's own (O, C, kernel), packed into the scratch that run() reads them from.
    void pack(Stream stream, const float* weights, void* scratch) const;
    /// bias: of the written channels, or null. Accumulates to what lies in `written`.
    void run(Stream stream, View read, const float* bias, bool accumulate, View written, void* scratch,
             const EpilogueForm& form = {}, const Epilogue& epilogue = {}, const MakePlanes& make = {}) const;

  private:
    /// Planes from a first to before a last, and what lies beside the tensors meanwhile. In place: results, (output
    /// block, plane, H, W, L), and the source's plane before, (input block, H, W, L). Channels that are made: of two
    /// slabs in turn, (input block, plane, H, W, L).
    struct Slab {
        std::byte *results = nullptr, *before = nullptr, *made[2] = {};
        std::int64_t first = 0, last = 0;
    };
    struct Operands {
        const std::byte* read;
        const std::byte* packed;
        const float* bias;
        bool accumulate;
        std::byte* written;
        std::byte* beside;  ///< null, or where the epilogue's result goes
        EpilogueForm form;
        Epilogue epilogue;
        Slab slab = {};
    };
    /// Ranges are from a first to before a last: planes of all samples, one after another, and blocks of outputs.
    struct Item {
        WinogradTiles tiles;
        std::int64_t first_plane, last_plane, first_block, last_block;
    };
    struct Buffers;

    std::int64_t items() const { return output_parts_ * regions_.count() * plane_ranges_; }
    Item item(std::int64_t index) const;
    std::int64_t packed_bytes() const { return kWinogradPositions * weights_position() * bytes_of(operands_); }
    /// Of all buffers of a thread, whichever item it has.
    std::int64_t worker_bytes() const;
    Buffers buffers_of(const Item& item, std::byte* memory) const;
    /// Of a block's plane of a tensor.
    std::int64_t plane_bytes() const { return geometry_.src.h * geometry_.src.w * block_ * bytes_of(type_); }
    /// To a block's plane of a tensor, of so many blocks.
    std::int64_t bytes_to(std::int64_t plane, std::int64_t block, std::int64_t blocks) const {
        return regions_.plane_at(plane, block, blocks) * plane_bytes();
    }
    const std::byte* source_plane(const Operands& operands, std::int64_t plane, std::int64_t block) const;
    /// Of the result, or that of the epilogue beside; null where there is none.
    std::byte* result_plane(const Operands& operands, std::byte* result, std::int64_t plane, std::int64_t block) const;
    void choose_slabs(const WinogradSlabs& slabs);
    std::int64_t slab_bytes() const;
    Slab slab_in(std::byte* memory, bool over) const;
    void run_slabs(Stream stream, Operands operands, std::byte* scratch, const MakePlanes& make) const;
    void end_slab(Stream stream, const Operands& operands) const;
    void run_item(const Operands& operands, const Item& item, std::byte* memory) const;
    void transform_plane(const Operands& operands, const Item& item, const Buffers& buffers, std::int64_t plane) const;
    void multiply(const Operands& operands, const Item& item, const Buffers& buffers, std::int64_t first,
                  std::int64_t last) const;
    void finish(const Operands& operands, const Item& item, const Buffers& buffers, std::int64_t first,
                std::int64_t last) const;
    /// Blocks of outputs whose weights lie together, from this one on.
    int together(std::int64_t block) const { return block + 1 < output_blocks_ ? 2 : 1; }
    std::int64_t weights_position() const;
    WinogradProduct product(int output_blocks, int tiles) const;

    ConvolutionGeometry geometry_;
    Type type_, operands_;
    std::int64_t block_;
    bool data_gradient_;
    Vectors vectors_;
    WinogradTransforms transforms_;
    std::int64_t inputs_, outputs_, input_blocks_, output_blocks_;
    TileRegions regions_;
    std::int64_t plane_ranges_, output_parts_, workers_;
    bool in_place_ = false;
    std::int64_t made_blocks_ = 0;  ///< of inputs
    std::int64_t slab_planes_ = 0;
    /// How many planes results are behind those that are made, which a plane of the kernel after the result's reads.
    std::int64_t lag_ = 0;
};

}  // namespace iwseg::cpu
