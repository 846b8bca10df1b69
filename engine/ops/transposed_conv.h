#pragma once

#include <string>

#include "engine/tensor.h"
#include "kernels/device/view.h"

namespace iwseg {

struct TransposedConvOptions {
    int channels = 1;  ///< of the result
    Sides kernel = 2;  ///< voxels along each axis that each of the input becomes: the stride too
    bool bias = true;
    /// The parameters are NAME.weight (C, O, kernel) and NAME.bias (O); empty: transposed_conv_0, …
    std::string name = {};
};

/// Each voxel becomes kernel.d x kernel.h x kernel.w of them, as PyTorch's ConvTranspose3d with stride = kernel and no
/// padding. Weights and bias begin as PyTorch's, kaiming uniform. Operands have the plan's precision, sums are f32.
/// Throws std::invalid_argument on options that are not usable.
Tensor transposed_conv(Tensor x, const TransposedConvOptions& options);

}  // namespace iwseg
