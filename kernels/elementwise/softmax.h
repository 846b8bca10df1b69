#pragma once

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

/// Softmax over the channels of each voxel. All tensors (N, C, D, H, W), f32 or bf16, of one form, else
/// std::invalid_argument is thrown. A NaN or an infinity above makes all channels of its voxel NaN, as in PyTorch.
IWSEG_BACKENDS(
    /// y = exp(x - the voxel's largest x) over the sum of these; y may be x. Channels that fill the last block are 0.
    void softmax(Stream stream, View x, View y);
    /// diff_x = y (diff_y - the voxel's sum of y diff_y), or += it; diff_x may be diff_y.
    void softmax_backward(Stream stream, View y, View diff_y, View diff_x, Write write);)
