#pragma once

#include <string>

#include "kernels/resample/window_sum.h"

namespace iwseg {

/// What is left of a shape where windows that lie side by side become one voxel each. Throws std::invalid_argument,
/// naming the operation, where they do not fill it.
inline Shape pooled(const Shape& x, const Sides& window, const std::string& operation) {
    if (window.d < 1 || window.h < 1 || window.w < 1 || x.d % window.d || x.h % window.h || x.w % window.w)
        throw std::invalid_argument(operation + ": windows of " + std::to_string(window.d) + " x " +
                                    std::to_string(window.h) + " x " + std::to_string(window.w) +
                                    " voxels do not fill a tensor of " + std::to_string(x.d) + " x " +
                                    std::to_string(x.h) + " x " + std::to_string(x.w));
    return {x.n, x.c, x.d / window.d, x.h / window.h, x.w / window.w};
}

}  // namespace iwseg
