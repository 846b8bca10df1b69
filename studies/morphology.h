#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace iwseg {

/// What a mask is taken to be beyond the scan's faces.
enum class Beyond : std::uint8_t { background, foreground };

constexpr int kMostMorphologySteps = 254;

/// Dilates a mask (D, H, W), nonzero is foreground, in place to 0 and 1: as `steps` dilations by a voxel's six
/// neighbours, which reach every voxel within city-block distance `steps`. Equal to
/// scipy.ndimage.binary_dilation(iterations=steps). One exact distance transform, whatever the steps: linear in voxels,
/// no memory beside the mask. Throws InputError where steps is not from 0 to most_morphology_steps.
void dilate(std::vector<std::uint8_t>& mask, const std::array<std::int64_t, 3>& shape, int steps);

/// Erodes likewise. With Beyond::background the scan's faces are eroded too, as scipy.ndimage.binary_erosion does by
/// default (border_value=0); with Beyond::foreground they are not, as skimage.morphology.binary_erosion does.
void erode(std::vector<std::uint8_t>& mask, const std::array<std::int64_t, 3>& shape, int steps, Beyond beyond);

}  // namespace iwseg
