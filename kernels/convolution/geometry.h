#pragma once

#include <cstdint>

#include "kernels/device/view.h"

namespace iwseg {

/// What a convolution joins with what; by default of stride 1, with zeros around src that keep its size.
struct ConvolutionGeometry {
    Shape src;                      ///< (N, C, D, H, W)
    std::int64_t dst_channels = 1;  ///< O
    Sides kernel = 3;               ///< 1 to 7
    Sides stride = 1;               ///< 1 to 7
    std::int64_t groups = 1;        ///< of channels, each convolved by itself; divides C and O
    bool padded = true;             ///< by (kernel - 1) / 2 zeros on each side, for odd kernels; else by none

    Sides padding() const {
        return padded ? Sides((kernel.d - 1) / 2, (kernel.h - 1) / 2, (kernel.w - 1) / 2) : Sides(0);
    }
    /// (N, O, …): positions of the kernel, from stride to stride.
    Shape dst() const {
        const auto positions = [](std::int64_t side, int k, int before, int step) {
            return side + 2 * before < k ? 0 : (side + 2 * before - k) / step + 1;
        };
        const Sides before = padding();
        return {src.n, dst_channels, positions(src.d, kernel.d, before.d, stride.d),
                positions(src.h, kernel.h, before.h, stride.h), positions(src.w, kernel.w, before.w, stride.w)};
    }
    /// Weights of one output.
    std::int64_t inputs() const { return src.c / groups; }
    std::int64_t taps() const { return kernel.product(); }
    std::int64_t weight_count() const { return dst_channels * inputs() * taps(); }
    /// Of kernel 1 or 3 and stride 1, in one group: what the specialised kernels take.
    bool is_plain() const {
        return (kernel == 1 || kernel == 3) && stride == 1 && groups == 1 && (padded || kernel == 1);
    }
};

}  // namespace iwseg
