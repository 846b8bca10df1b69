#pragma once

#include "engine/tensor.h"

namespace iwseg {

/// exp(x) over the sum of it over the channels, for each voxel.
Tensor softmax(Tensor x);

}  // namespace iwseg
