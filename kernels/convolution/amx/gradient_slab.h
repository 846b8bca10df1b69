#pragma once

#include <cstdint>

#include "kernels/convolution/amx/slab.h"

/// What sums over voxels are made of, for some planes and rows of dst's gradient and some blocks of both tensors:
///     diff  transposed (voxel_tiles.h), rows of `columns` voxels one after the other, zeros beyond their ends
///     src   interleaved, of the same columns, so that a tap is a number of voxels further on: once in pairs from even
///           voxels on and, where a row has taps at odd distances, once from odd ones on. At a stride every
///           stride-th row and voxel lie together, as in slab.h.
/// What src has where diff has the zeros beyond its rows is multiplied with them: an infinity there makes a NaN. All
/// that is read is written first.
namespace iwseg::cpu {

struct GradientSlab {
    PassAxis d, h, w;  ///< forward
    std::int64_t src_blocks, diff_blocks, most_planes, most_rows;
    std::int64_t columns;  ///< even
    std::int64_t rows_of_phase, phases_h, phases_w, parities;
    std::int64_t array_bytes;  ///< rows of one phase from even or odd voxels on
    std::int64_t src_plane_bytes, src_block_bytes, diff_plane_bytes, diff_block_bytes;

    GradientSlab(const PassAxis& of_d, const PassAxis& of_h, const PassAxis& of_w, std::int64_t of_src,
                 std::int64_t of_diff, std::int64_t planes, std::int64_t rows);

    std::int64_t src_bytes() const { return src_blocks * src_block_bytes; }
    std::int64_t diff_bytes() const { return diff_blocks * diff_block_bytes; }
    /// Of voxels that are gathered before they are transposed or interleaved.
    std::int64_t row_bytes() const;
    std::int64_t bytes() const { return src_bytes() + diff_bytes() + row_bytes(); }
    /// Tiles of 32 voxels of so many rows of diff.
    std::int64_t tiles(std::int64_t rows) const { return ((rows - 1) * columns + w.written + 31) / 32; }
    /// Bytes to the first tile of src that a tap reads, of a block and the first plane.
    std::int64_t place(std::int64_t block, int tap_d, int tap_h, int tap_w) const;

    /// Copies blocks of one sample, from the first of each range on; ranges are of dst. slab: bytes().
    void fill_src(const View& src, std::int64_t sample, SlabRange blocks, SlabRange planes, SlabRange rows,
                  char* slab) const;
    void fill_diff(const View& diff, std::int64_t sample, SlabRange blocks, SlabRange planes, SlabRange rows,
                   char* slab) const;
    const char* src(const char* slab) const { return slab; }
    const char* diff(const char* slab) const { return slab + src_bytes(); }
};

}  // namespace iwseg::cpu
