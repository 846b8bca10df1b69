#pragma once

#include "kernels/device/backend.h"
#include "kernels/device/view.h"

/// Largest of each 2 x 2 x 2 voxels. x: (N, C, D, H, W); y: (N, C, D/2, H/2, W/2); f32 or bf16, one layout, even sizes.
IWSEG_BACKENDS(void max_pool(Stream stream, View x, View y);
               /// No index is kept: the place of the largest (the first in raster order) is found again from x.
               void max_pool_backward(Stream stream, View x, View diff_y, View diff_x, Write write);)
