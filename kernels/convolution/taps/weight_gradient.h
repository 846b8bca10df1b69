#pragma once

#include <cstdint>
#include <vector>

#include "kernels/convolution/convolution.h"
#include "kernels/convolution/taps/axis_taps.h"
#include "kernels/convolution/taps/gradient_tile.h"
#include "kernels/convolution/taps/packed_row.h"

namespace iwseg::cpu {

/// The gradient of the weights of a convolution of any kernel, from a gradient of its result in channel-blocked layout
/// and a source blocked alike or of plain channels. The same bytes on any number of threads.
class TapWeightGradient {
  public:
    /// pairs: of bf16, which both tensors are then, diff_dst in blocks of 16.
    TapWeightGradient(const ConvolutionOptions& options, Vectors vectors, bool pairs);

    std::int64_t scratch_bytes() const;
    /// diff_weights: (O, C / groups, kernel), overwritten.
    void run(Stream stream, View src, View diff_dst, float* diff_weights, void* scratch) const;

  private:
    struct Item;
    struct Band;
    struct Rows;
    /// An input channel at a tap: where the packed rows of a band have what the first position is multiplied with.
    struct Correlated {
        int plane, tap;                           ///< plane of those packed, tap of the kernel
        std::int64_t depth, row, start, channel;  ///< planes and rows from the position's; elements of a row
    };

    void list_correlated();
    GradientTileKind kind_of(std::int64_t chunk) const;
    Item item_at(std::int64_t index) const;
    /// Elements of a packed row of src, and where a tap finds its first position's.
    std::int64_t row_elements() const;
    std::int64_t row_start(std::int64_t offset) const;
    Rows src_rows(const Item& item, const Band& band, const View& src, char* room) const;
    Rows diff_rows(const Item& item, const Band& band, const View& diff, char* room) const;
    std::int64_t src_room_bytes() const;
    void pack_src_row(const void* row, Type type, char* to) const;
    void add_band(const Item& item, const Band& band, const View& src, const View& diff, float* partial) const;
    void sum_partials(std::int64_t of, const float* partials, float* diff_weights) const;

    ConvolutionOptions options_;
    Shape dst_;
    Vectors vectors_;
    bool pairs_;
    bool depthwise_;  ///< a block of channels is then taken for a group
    bool mixed_;      ///< a tile has several taps, of plain channels or depthwise
    std::int64_t taps_, src_block_, block_;
    std::int64_t groups_;
    std::int64_t inputs_, outputs_;  ///< channels of one group
    std::int64_t listed_;            ///< input channels that are correlated with a chunk one by one
    AxisTaps d_, h_, w_;
    PackedRow packed_row_;
    bool odd_starts_ = false;    ///< of pairs: a tap begins at an odd place of a packed row
    bool lies_packed_ = false;   ///< rows of src are read where they lie
    std::int64_t input_parts_;   ///< of one group: blocks, or one part of all plain channels
    std::int64_t lanes_, wide_;  ///< output channels of a vector, and of a chunk
    std::int64_t chunks_;        ///< of one group's output channels
    std::int64_t part_inputs_;   ///< pairs of an input channel and a tap in a partial sum, whole tiles
    std::vector<Correlated> correlated_;
    std::int64_t rows_, bands_;  ///< of a band; bands of a plane
    std::int64_t units_, sums_;  ///< bands in all, and partial sums that they are divided among
};

}  // namespace iwseg::cpu
