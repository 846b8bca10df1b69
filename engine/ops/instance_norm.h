#pragma once

#include <string>

#include "engine/tensor.h"

namespace iwseg {

struct InstanceNormOptions {
    float epsilon = 1e-5f;  ///< PyTorch's
    /// The parameters are NAME.weight and NAME.bias, each (C); empty: instance_norm_0, instance_norm_1, …
    std::string name = {};
};

/// Instance normalisation: over (D, H, W) of each sample and channel, in training and prediction alike (Ulyanov et al.,
/// 2016, with scale and shift as PyTorch's InstanceNorm3d with affine=True). Scale begins as 1, shift as 0. Fused with
/// a relu or leaky_relu of its result. Only its input and its statistics are kept for the backward pass; what others
/// read there is computed again. Throws std::invalid_argument where a channel is a single voxel, which would become 0.
Tensor instance_norm(Tensor x, const InstanceNormOptions& options = {});

}  // namespace iwseg
