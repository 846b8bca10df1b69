#pragma once

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

/// Where outputs lie between inputs, along an axis of n. aligned: output o at o (n - 1) / (2n - 1), so that corners lie
/// on corners; half: at (o + 1/2) / 2 - 1/2, but not outside. PyTorch's align_corners = true and false.
enum class Corners : unsigned char { aligned, half };

}  // namespace iwseg

/// Trilinear interpolation to twice the size. x: (N, C, D, H, W); y: (N, C, 2D, 2H, 2W); f32 or bf16, one layout.
IWSEG_BACKENDS(void upsample(Stream stream, View x, Corners corners, View y);
               /// Each input voxel gathers from the outputs that read it: no atomics, one order of addition.
               void upsample_backward(Stream stream, View diff_y, Corners corners, View diff_x, Write write);)
