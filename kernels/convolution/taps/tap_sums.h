#pragma once

#include <cstdint>
#include <vector>

#include "kernels/convolution/convolution.h"
#include "kernels/convolution/taps/axis_taps.h"
#include "kernels/convolution/taps/packed_row.h"
#include "kernels/convolution/taps/tile.h"

/// The result of a convolution, or the gradient of its source, in channel-blocked layout: sums over taps (axis_taps.h).
namespace iwseg::cpu {

enum class TapDirection : std::uint8_t { result, source_gradient };

/// What becomes of sums: + bias (of all channels, or null), + what lies there where it accumulates, then the epilogue.
struct TapFinish {
    const float* bias = nullptr;
    bool accumulate = false;
    EpilogueForm form = {};  ///< of results
    Epilogue epilogue = {};
};

class TapSums {
  public:
    /// The source of the sums may be of plain channels, for a result; what is written is blocked as options.dst_layout.
    /// pairs: of bf16, which both tensors are then, in blocks of 16.
    TapSums(const ConvolutionOptions& options, TapDirection direction, Vectors vectors, bool pairs);

    TapSums(const TapSums&) = delete;
    TapSums& operator=(const TapSums&) = delete;

    std::int64_t packed_weight_bytes() const;
    /// Of a packed copy of the whole source; 0 where there is none.
    std::int64_t packed_source_bytes() const;
    /// weights: those of the convolution, (O, C / groups, kernel); rounded to bf16 where that is the source's type.
    void pack_weights(Stream stream, const float* weights, void* packed) const;
    /// room: packed_source_bytes(). to = what the finish makes of what is summed.
    void run(Stream stream, View from, const void* packed, void* room, const TapFinish& finish, View to) const;

  private:
    /// A phase along depth and one along height; their positions are cut into bands of rows of a plane.
    struct Part {
        const AxisTaps* d;
        const AxisTaps* h;
        std::int64_t rows, bands, first_item;
    };
    /// Blocks of output channels that a tile has together.
    struct Chunk {
        std::int64_t first;
        int blocks;
    };
    /// Where tiles read the source: as it lies in the tensor, from a packed copy of all of it, or of a band's rows.
    enum class Reading : std::uint8_t { tensor, copy, bands };
    struct Item;
    struct Source;

    void cut_outputs(Vectors vectors);
    void cut_rows();
    TapTileKind kind_of(const Chunk& chunk) const;
    Item item_at(std::int64_t index) const;
    /// Of a block of source channels, for each output and tap.
    std::int64_t weights_inputs() const { return depthwise_ ? 1 : src_block_; }
    void choose_reading();
    Source source_of(const Item& item, const View& from, char* copy) const;
    void pack_all(Stream stream, const View& from, char* copy) const;
    void list_taps(const Item& item, const Source& source, const AxisTaps& width, int blocks,
                   std::vector<Tap>& taps) const;
    bool passes_caches(const View& to) const;
    template <int B, class T>
    void run_item(const Item& item, const View& from, char* copy, const void* packed, const TapFinish& finish,
                  const View& to) const;
    template <int B, class T>
    void run_chunk(const Item& item, const Source& source, const AxisTaps& width, const Chunk& chunk,
                   const std::vector<Tap>& taps, const void* packed, const TapFinish& finish, const View& to) const;

    ConvolutionOptions options_;
    TapDirection direction_;
    Vectors vectors_;
    bool pairs_, rounded_;
    bool depthwise_;  ///< a block of channels is then taken for a group
    Shape from_, to_;
    std::int64_t taps_, src_block_, block_;
    std::int64_t groups_;
    std::int64_t inputs_, outputs_;              ///< channels of one group
    std::int64_t input_blocks_, output_blocks_;  ///< of one group
    std::vector<AxisTaps> d_, h_, w_;            ///< phases
    PackedRow packed_row_;
    Reading reading_ = Reading::bands;
    std::int64_t copy_top_ = 0, copy_rows_ = 0;  ///< of a plane in the copy: its first row, and how many
    std::vector<Part> parts_;
    std::vector<Chunk> chunks_;  ///< of one group
    std::int64_t splits_ = 1, items_ = 0;
};

}  // namespace iwseg::cpu
