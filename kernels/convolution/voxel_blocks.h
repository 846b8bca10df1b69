#pragma once

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

// A block is what one voxel of a convolution's result is made of where the kernel is the stride: as many voxels of the
// source as the kernel has, which no other voxel reads. Rows of blocks are (voxel of the result, d, h, w of the kernel,
// channel), so that the convolution is a product of matrices.
namespace iwseg {

/// Whether rows of blocks and a source with channels innermost are the same bytes.
constexpr bool blocks_lie_in_rows(const Sides& kernel) {
    return kernel.d == 1 && kernel.h == 1;
}

}  // namespace iwseg

IWSEG_BACKENDS(
    /// rows = the blocks of src (N, C, D, H, W), whose channels are innermost and whose sides are multiples of the
    /// kernel's; of its type.
    void gather_blocks(Stream stream, View src, const Sides& kernel, void* rows);
    /// The other way: src = rows.
    void spread_blocks(Stream stream, const void* rows, const Sides& kernel, View src);)
