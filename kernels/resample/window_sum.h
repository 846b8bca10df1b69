#pragma once

#include <stdexcept>
#include <string>

#include "kernels/device/declare.h"
#include "kernels/device/dispatch.h"
#include "kernels/device/view.h"

namespace iwseg {

/// The window that takes each side of `big` to that of `small`. Throws std::invalid_argument where there is none.
inline Sides window_between(const View& big, const View& small, const char* operation) {
    const Shape &b = big.shape, &s = small.shape;
    Shape whole{b.n, b.c, s.d, s.h, s.w};
    if (s.d < 1 || s.h < 1 || s.w < 1 || !(s == whole) || b.d % s.d || b.h % s.h || b.w % s.w ||
        big.layout != small.layout || big.type != small.type)
        throw std::invalid_argument(
            std::string(operation) +
            ": the sides of one tensor are to be multiples of the other's, in its layout and type");
    return {static_cast<int>(b.d / s.d), static_cast<int>(b.h / s.h), static_cast<int>(b.w / s.w)};
}

}  // namespace iwseg

/// Windows that lie side by side: average pooling and nearest upsampling, and the gradients of both. big: (N, C, D, H,
/// W), small: (N, C, D/d, H/h, W/w), f32 or bf16, one layout and type.
IWSEG_BACKENDS(
    /// small = scale times the sum of each window, or += it, in f32 and raster order.
    void sum_windows(Stream stream, View big, float scale, View small, Write write);
    /// Each voxel of big = scale times its window's voxel of small, or += it.
    void spread_windows(Stream stream, View small, float scale, View big, Write write);)
