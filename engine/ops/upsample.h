#pragma once

#include "engine/tensor.h"
#include "kernels/resample/upsample.h"
#include "kernels/resample/window_sum.h"

namespace iwseg {

/// Twice as many voxels along each axis, trilinear. corners: PyTorch's align_corners = true, or false (half).
Tensor upsample(Tensor x, Corners corners = Corners::aligned);
/// So many times as many voxels along each axis, each a copy of the nearest.
Tensor upsample_nearest(Tensor x, const Sides& times = {2, 2, 2});

}  // namespace iwseg
