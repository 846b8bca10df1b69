#pragma once

#include "engine/tensor.h"
#include "kernels/resample/window_sum.h"

namespace iwseg {

/// The largest of each window, channel by channel; windows lie side by side. Throws std::invalid_argument where they do
/// not fill the tensor, and on windows that are not of 1 to 3 voxels along each axis.
Tensor max_pool(Tensor x, const Sides& window = {2, 2, 2});

}  // namespace iwseg
