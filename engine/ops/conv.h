#pragma once

#include <string>

#include "engine/tensor.h"
#include "kernels/device/view.h"

namespace iwseg {

struct ConvOptions {
    int channels = 1;  ///< of the result
    Sides kernel = 3;  ///< 1, 3, 5 or 7 voxels along each axis: one number, or three as in {1, 3, 3}
    Sides stride = 1;  ///< 1 or more voxels along each axis
    int groups = 1;    ///< of channels, each convolved by itself; as many as there are channels: depthwise
    bool bias = true;
    /// The parameters are NAME.weight (O, C / groups, kernel) and NAME.bias (O); empty: conv_0, conv_1, …
    std::string name = {};
};

/// Convolution with (kernel - 1) / 2 zeros on each side, which keep the size at stride 1; at stride s it becomes the
/// next whole number from size / s up. Weights and bias begin as PyTorch's, kaiming uniform. Operands have the plan's
/// precision, sums are f32. Throws std::invalid_argument on options that are not usable.
Tensor conv(Tensor x, const ConvOptions& options);

}  // namespace iwseg
