#pragma once

#include "engine/tensor.h"

namespace iwseg {

/// Twice as many voxels along each axis, trilinear (kernels/resample/upsample.h).
Tensor upsample(Tensor x);

}  // namespace iwseg
