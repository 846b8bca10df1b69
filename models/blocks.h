#pragma once

#include <string>

#include "engine/ops/conv.h"
#include "engine/tensor.h"

namespace iwseg {

/// Normalisation, ReLU, convolution: the parameters are NAME.bn.* and NAME.layer.*. options.name is not read.
Tensor pre_activation(Tensor x, const std::string& name, ConvOptions options);

/// Two pre-activated convolutions beside a shortcut, which is x, or a 1 x 1 x 1 convolution of it where channels
/// differ.
Tensor residual_block(Tensor x, const std::string& name, int channels, int kernel);

}  // namespace iwseg
