#pragma once

#include "engine/tensor.h"

namespace iwseg {

/// 1 / (1 + exp(-x)) of each element.
Tensor sigmoid(Tensor x);

}  // namespace iwseg
