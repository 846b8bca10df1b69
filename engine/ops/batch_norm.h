#pragma once

#include <string>

#include "engine/tensor.h"

namespace iwseg {

struct NormOptions {
    float epsilon = 1e-5f, momentum = 0.1f;  ///< PyTorch's
    /// The parameters are NAME.weight and NAME.bias, the running statistics NAME.running_mean and NAME.running_var,
    /// each (C); empty: batch_norm_0, batch_norm_1, …
    std::string name = {};
};

/// Batch normalisation over (N, D, H, W): by the batch in training, which also moves the running statistics, else by
/// these. Scale begins as 1, shift as 0. Fused with a relu or leaky_relu of its result. Only its input and statistics
/// per channel are kept for the backward pass; what others read there is computed again.
Tensor batch_norm(Tensor x, const NormOptions& options = {});

}  // namespace iwseg
