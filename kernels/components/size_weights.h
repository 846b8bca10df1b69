#pragma once

#include <cstdint>

#include "kernels/components/ignored.h"
#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

/// What CATMIL's component-adaptive term weights voxels with (arXiv 2604.08015): background, and the voxels added to a
/// lesion's.
constexpr float kRestWeight = 0.01f, kAddedVoxels = 5.0f;

}  // namespace iwseg

/// Weights by lesion size: of label l in patch n, table[n][l] receives 1 / (|C| + 5), |C| the voxels of the patch whose
/// target is 1 and whose label is l, or 0 where there are none; table[n][0] receives 0.01, or 0 in all patches where no
/// patch of the batch has a lesion: all that is computed with them is then 0.
/// target: (N, 1, D, H, W) u8; labels: the same shape, i32, read where the target is 1, from 1 to stride - 1.
/// table: (N, stride) f32. Throws std::invalid_argument on others.
IWSEG_BACKENDS(void size_weights(Stream stream, View target, View labels, float* table, std::int64_t stride);)

namespace iwseg {

/// What every backend refuses of a target and the labels of its lesions.
void require_lesions(const View& target, const View& labels, std::int64_t stride, const char* operation);

}  // namespace iwseg
