#pragma once

#include "engine/tensor.h"

namespace iwseg {

/// The mean over all voxels, channel by channel: (N, C, 1, 1, 1).
Tensor global_average_pool(Tensor x);

}  // namespace iwseg
