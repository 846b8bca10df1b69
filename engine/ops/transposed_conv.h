#pragma once

#include <optional>
#include <string>

#include "engine/tensor.h"
#include "kernels/device/view.h"

namespace iwseg {

struct TransposedConvOptions {
    int channels = 1;  ///< of the result
    Sides kernel = 2;  ///< voxels along each axis
    /// None: the kernel, so that each voxel becomes as many of its own. Else the kernel is odd, and overlaps.
    std::optional<Sides> stride = {};
    bool bias = true;
    /// The parameters are NAME.weight (C, O, kernel) and NAME.bias (O); empty: transposed_conv_0, …
    std::string name = {};
};

/// Sides become the stride times as many, as PyTorch's ConvTranspose3d with stride = kernel and no padding or, of
/// another stride, with padding = (kernel - 1) / 2 and output_padding = stride - 1. Weights and bias begin as
/// PyTorch's, kaiming uniform. Operands have the plan's precision, sums are f32. Throws std::invalid_argument on
/// options that are not usable.
Tensor transposed_conv(Tensor x, const TransposedConvOptions& options);

}  // namespace iwseg
