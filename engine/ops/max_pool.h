#pragma once

#include "engine/tensor.h"

namespace iwseg {

/// The largest of 2 x 2 x 2 voxels, channel by channel. Throws std::invalid_argument where a side is odd.
Tensor max_pool(Tensor x);

}  // namespace iwseg
