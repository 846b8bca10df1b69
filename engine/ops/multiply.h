#pragma once

#include "engine/tensor.h"

namespace iwseg {

/// The product of two tensors of one shape, element by element. Throws std::invalid_argument on different shapes.
Tensor multiply(Tensor a, Tensor b);

}  // namespace iwseg
