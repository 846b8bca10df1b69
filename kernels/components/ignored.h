#pragma once

#include <cstdint>

#include "kernels/device/declare.h"

namespace iwseg {

/// A voxel whose truth nobody knows (nnU-Net's label `ignore`). In a target it holds kIgnored, beside 0 and 1; in
/// labels of components it holds kIgnoredLabel. It adds nothing to a loss's sums, its gradient is 0 whatever its logit,
/// it belongs to no component and is not background either: N, the number of voxels of a mean or of an inverse weight,
/// leaves it out.
constexpr std::uint8_t kIgnored = 255;
constexpr std::int32_t kIgnoredLabel = -1;

/// What a target holds where labels of components hold this.
IWSEG_HOST_DEVICE inline std::uint8_t target_of_label(std::int32_t label) {
    return label == kIgnoredLabel ? kIgnored : static_cast<std::uint8_t>(label > 0);
}

}  // namespace iwseg
