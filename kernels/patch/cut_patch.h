#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>

#include "kernels/components/ignored.h"
#include "kernels/device/const_view.h"
#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

/// A scan, and where in it a patch lies, its axes permuted and reversed at will: voxel x of the patch is voxel
/// start + strides . x of the scan where inside_first <= x < inside_end along each axis, else it is padding.
struct PatchSource {
    const float* image = nullptr;  ///< (C, D, H, W)
    const std::int32_t* labels =
        nullptr;                     ///< (D, H, W), 0 background or kIgnoredLabel; not read where only the image is cut
    const float* padding = nullptr;  ///< C values
    std::int64_t voxels = 0;         ///< of the scan: from one channel to the next
    std::int64_t start = 0;
    std::array<std::int64_t, 3> strides{};
    std::array<std::int32_t, 3> inside_first{}, inside_end{};
};

}  // namespace iwseg

/// Cuts a batch of patches from scans.
/// sources: N of them, in memory of the device, as everything they point to. image: (N, C, D, H, W) f32, ncdhw.
/// target: (N, D, H, W), 1 where the scan's label is above 0, kIgnored where it is kIgnoredLabel; labels: (N, D, H, W),
/// the scan's label; outside the scan both are 0. Either may be null. Throws std::invalid_argument on an image of
/// another type or layout.
IWSEG_BACKENDS(void cut_patches(Stream stream, const PatchSource* sources, View image, std::uint8_t* target,
                                std::int32_t* labels);)

namespace iwseg {

/// What every backend refuses.
inline void require_patches(const ConstView& image) {
    if (image.type != Type::f32 || block_of(image.layout, image.shape.c) != 1)
        throw std::invalid_argument("cut_patches: expected an f32 image with channels outermost (ncdhw)");
}

}  // namespace iwseg
