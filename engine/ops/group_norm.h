#pragma once

#include <string>

#include "engine/tensor.h"

namespace iwseg {

struct GroupNormOptions {
    float epsilon = 1e-5f;  ///< PyTorch's
    /// The parameters are NAME.weight and NAME.bias, each (C); empty: group_norm_0, group_norm_1, …
    std::string name = {};
};

/// Group normalisation: over (D, H, W) and the channels of each of so many groups of a sample, in training and
/// prediction alike (Wu and He, 2018, with scale and shift as PyTorch's GroupNorm with affine=True). Scale begins as 1,
/// shift as 0. Fused with a relu or leaky_relu of its result. Only its input and its statistics are kept for the
/// backward pass. Throws std::invalid_argument where groups do not divide the channels, or where a group is a single
/// element: it would always become 0.
Tensor group_norm(Tensor x, int groups, const GroupNormOptions& options = {});

}  // namespace iwseg
