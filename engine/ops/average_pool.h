#pragma once

#include "engine/tensor.h"
#include "kernels/resample/window_sum.h"

namespace iwseg {

/// The mean of each window, channel by channel; windows lie side by side. Throws std::invalid_argument where they do
/// not fill the tensor. For means over all voxels there is global_average_pool.
Tensor average_pool(Tensor x, const Sides& window = {2, 2, 2});

}  // namespace iwseg
