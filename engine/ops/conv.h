#pragma once

#include <string>

#include "engine/tensor.h"

namespace iwseg {

struct ConvOptions {
    int channels = 1;  ///< of the result
    int kernel = 3;    ///< 1 or 3 voxels along each axis; zeros around the input keep its size
    bool bias = true;
    /// The parameters are NAME.weight (O, C, k, k, k) and NAME.bias (O); empty: conv_0, conv_1, …
    std::string name = {};
};

/// Convolution of stride 1. Weights and bias begin as PyTorch's, kaiming uniform. Operands have the plan's precision,
/// sums are f32. Throws std::invalid_argument on options that are not usable.
Tensor conv(Tensor x, const ConvOptions& options);

}  // namespace iwseg
