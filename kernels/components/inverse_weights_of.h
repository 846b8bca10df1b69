#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/extent.h"
#include "kernels/components/inverse_weights.h"
#include "kernels/device/declare.h"

/// Inverse weights for programs, as components_of is for components.
namespace iwseg {

/// The inverse weight of each voxel of a patch or scan (Shirokikh et al., MICCAI 2020): N / ((K + 1) |C|) for a voxel
/// of component C, clipped; N voxels and K components in all, |C| voxels of C, background being one more component
/// where there is any. labels: (D, H, W) as components_of makes them, 0 background; they need not be consecutive, but
/// lie from 0 to N, or are kIgnoredLabel (-1): none of the N, and weight 0. shape: D, H, W in voxels, at most 2^31 - 1
/// in all. host: a thread pool's stream; the default computes on the calling thread, with the same result. Throws
/// std::invalid_argument, in one sentence, on other labels, sizes that differ, and a clip that is not 0 < low <= high,
/// both finite.
std::vector<float> inverse_weights_of(std::span<const std::int32_t> labels, const Extent& shape,
                                      const WeightClip& clip = {}, Stream host = {});

/// The same into memory of the caller's, which is of the labels' size: else it throws too.
void inverse_weights_of(std::span<const std::int32_t> labels, const Extent& shape, const WeightClip& clip,
                        std::span<float> weights, Stream host = {});

}  // namespace iwseg
