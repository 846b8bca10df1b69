#pragma once

#include <cstdint>

#include "kernels/convolution/amx/pass_axis.h"
#include "kernels/device/view.h"

/// The part of a tensor of bf16 (or f32, which is rounded) in blocks of 16 channels that some results are made of,
/// copied to where tiles are loaded from: zeros around the volume, and 64 bytes a voxel, which are 32 products of a
/// sum:
///     of two blocks:  channels 0 … 15 of one | of the next, or zeros where there is none
///     of one block:   its channels at this voxel | at the voxel after it in the row
/// The second form, `paired`, is for the pair of neighbouring taps of a kernel's row. Each load of a tile row is one
/// cache line, at any tap.
///
/// Rows of one remainder to the step between results lie together, so that the voxels that two results next to each
/// other read are as far apart everywhere: along a row and, since rows have zeros after them, from its end on to the
/// next row. A tile's 16 results are so cut from the rows as if these were one; those at the zeros are thrown away.
namespace iwseg::cpu {

/// Which results: places q (pass_axis.h) from `first` on, `count` of them.
struct SlabRange {
    std::int64_t first, count;
};

struct Slab {
    PassAxis d, h, w;
    std::int64_t groups;  ///< of two blocks, or of one where paired
    bool paired;
    std::int64_t most_planes, most_rows;  ///< of results
    std::int64_t columns;                 ///< places of results a row, with those that are thrown away
    std::int64_t rows_of_phase;
    std::int64_t row_bytes, plane_bytes, group_bytes;

    static constexpr std::int64_t kVoxelBytes = 64;

    /// For at most so many planes and rows of results.
    Slab(const PassAxis& of_d, const PassAxis& of_h, const PassAxis& of_w, std::int64_t blocks, std::int64_t planes,
         std::int64_t rows);

    std::int64_t bytes() const;
    /// Bytes from the slab's begin to what tap offsets of a group read for the first result.
    std::int64_t place(std::int64_t group, int offset_d, int offset_h, int offset_w) const;
    /// Bytes between what two results next to each other read, along each axis; rows of results are `columns` apart.
    std::int64_t step_d() const { return d.in_step * plane_bytes; }
    std::int64_t step_w() const { return w.in_step * kVoxelBytes; }

    /// Copies what the results of these ranges are made of. view: f32 or bf16, blocked16.
    void fill(const View& view, std::int64_t sample, SlabRange planes, SlabRange rows, char* slab) const;
};

/// Whether a tensor of so many blocks is best read in pairs of taps: one block, and no row of a kernel of one tap.
bool reads_paired(const PassAxis& w, std::int64_t blocks);

}  // namespace iwseg::cpu
