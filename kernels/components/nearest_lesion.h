#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

/// The regions of a Voronoi diagram of lesions: for each voxel of a patch the label of the lesion that is nearest, by
/// the exact Euclidean distance in voxels to its nearest voxel; of equally near ones that of the voxel which comes
/// first in raster order. In a patch without lesions it is 0 everywhere.
/// target: (N, 1, D, H, W) u8, lesion where it is 1; labels: the same shape, i32, read there. nearest: (N, D, H, W).
/// Sides are at most 32767. Throws std::invalid_argument on others.
IWSEG_BACKENDS(std::int64_t nearest_lesion_scratch_bytes(const Shape& target);
               void nearest_lesion(Stream stream, View target, View labels, std::int32_t* nearest, void* scratch);)

namespace iwseg {

/// What every backend refuses.
void require_nearest_lesion(const View& target, const View& labels);

}  // namespace iwseg
