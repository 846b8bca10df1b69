#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device/view.h"

namespace iwseg {

/// What one training step reads. N patches of D x H x W voxels, C channels.
struct Batch {
    Shape shape;                       ///< (N, C, D, H, W) of image
    std::vector<float> image;          ///< (N, C, D, H, W)
    std::vector<std::uint8_t> target;  ///< (N, D, H, W), 0, 1 or kIgnored
    /// (N, D, H, W): component of each voxel, consecutive from 1 in each patch; 0 background, kIgnoredLabel where
    /// ignored.
    std::vector<std::int32_t> labels;
    std::vector<float> weights;  ///< (N, stride): inverse weight of each label
    std::int64_t stride = 0;
    std::int64_t lesion_voxels = 0;  ///< over the whole batch
    std::int64_t components = 0;     ///< over the whole batch
};

}  // namespace iwseg
