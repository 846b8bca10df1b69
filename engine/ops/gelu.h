#pragma once

#include "engine/tensor.h"

namespace iwseg {

/// x / 2 (1 + erf(x / sqrt 2)) of each element: PyTorch's GELU, exact, not its approximation by tanh.
Tensor gelu(Tensor x);

}  // namespace iwseg
