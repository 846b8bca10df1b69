#pragma once

#include "kernels/device/backend.h"
#include "kernels/device/view.h"

/// Trilinear interpolation to twice the size, corners aligned: output o reads input o (n - 1) / (2n - 1) along each
/// axis. x: (N, C, D, H, W); y: (N, C, 2D, 2H, 2W); f32 or bf16, one layout.
IWSEG_BACKENDS(void upsample(Stream stream, View x, View y);
               /// Each input voxel gathers from the outputs that read it: no atomics, one order of addition.
               void upsample_backward(Stream stream, View diff_y, View diff_x, Write write);)
