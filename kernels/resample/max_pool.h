#pragma once

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

#include "kernels/resample/window_sum.h"

namespace iwseg {

/// The window between x and y. Throws std::invalid_argument where it is not of 1 to 3 voxels along each axis.
inline Sides pool_window(const View& x, const View& y) {
    const Sides window = window_between(x, y, "max_pool");
    for (const int side : {window.d, window.h, window.w})
        if (side > 3) throw std::invalid_argument("max_pool: windows are of 1 to 3 voxels along each axis");
    return window;
}

}  // namespace iwseg

/// Largest of each window of d x h x w voxels, which lie side by side and are of 1 to 3 voxels along each axis. x: (N,
/// C, D, H, W); y: (N, C, D/d, H/h, W/w); f32 or bf16, one layout and type.
IWSEG_BACKENDS(void max_pool(Stream stream, View x, View y);
               /// No index is kept: the place of the largest (the first in raster order) is found again from x.
               void max_pool_backward(Stream stream, View x, View diff_y, View diff_x, Write write);)
