#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/dispatch.h"
#include "kernels/device/view.h"

namespace iwseg {

/// Throws std::invalid_argument where y is not of the form for the means of x.
inline void require_means(const View& x, const View& y) {
    if (!(y.shape == Shape{x.shape.n, x.shape.c, 1, 1, 1}) || x.layout != y.layout || x.type != y.type)
        throw std::invalid_argument("channel_mean: the result is of one voxel, in the layout and type of the operand");
}

}  // namespace iwseg

/// Global average pooling. Its gradient is spread_windows (kernels/window_sum.h).
IWSEG_BACKENDS(
    /// Means over (D, H, W), summed in an order that depends on the shape alone. x: (N, C, D, H, W); y: (N, C, 1, 1,
    /// 1); f32 or bf16, one layout and type. scratch: channel_mean_scratch_bytes of x.
    void channel_mean(Stream stream, View x, View y, void* scratch);
    std::int64_t channel_mean_scratch_bytes(const Shape& shape, Layout layout);)
