#pragma once

#include <string>

#include "engine/tensor.h"

namespace iwseg {

struct LinearOptions {
    int features = 1;  ///< of the result
    bool bias = true;
    /// The parameters are NAME.weight (O, I) and NAME.bias (O); empty: linear_0, linear_1, …
    std::string name = {};
};

/// A matrix times the channels of each sample, plus a bias: (N, I, 1, 1, 1) to (N, O, 1, 1, 1). Weights and bias begin
/// as PyTorch's, kaiming uniform, and are f32 in every precision. Throws std::invalid_argument on tensors of several
/// voxels (global_average_pool makes one of them; conv of kernel 1 takes each) and on fewer than one feature.
Tensor linear(Tensor x, const LinearOptions& options);

}  // namespace iwseg
