#pragma once

#include <cstdint>

#include "kernels/convolution/epilogue_block.h"
#include "kernels/device/view.h"

namespace iwseg::cpu {

/// What becomes of sums: rows of a result of one block of 16 channels, in the order of a slab's columns (slab.h).
struct ResultRows {
    std::int64_t columns;  ///< sums of a row, of which the first `width` are results
    std::int64_t width;
    std::int64_t row_step;    ///< elements between rows of the result
    std::int64_t voxel_step;  ///< and between its voxels
    const float* bias;        ///< 16
    std::int64_t channels;    ///< of the 16; the others stay zero, whatever their sums
    bool accumulate;
    const BlockEpilogue<16>* epilogue = nullptr;  ///< with the bias in it; voxels then lie side by side
};

/// sums: (last - first, 16), numbers first to last - 1 of the rows. to: the first row's first voxel, f32 or bf16.
/// after: the same place of where an epilogue's result goes, where `to` has the sums' own; else null.
void write_rows(const ResultRows& rows, std::int64_t first, std::int64_t last, const float* sums, Type type, void* to,
                void* after);

}  // namespace iwseg::cpu
