#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/view.h"

/// Connected components of binary masks.
/// mask: (N, 1, D, H, W) u8, nonzero is foreground. labels: same shape, i32; background 0, components 1, 2, … in the
/// raster order of each component's first voxel (the numbering of scikit-image and SciPy), each of the N on its own.
/// counts: N numbers of components. connectivity: 6, 18 or 26. At most 2^31 - 1 voxels a volume.
/// Throws std::invalid_argument on other connectivities, on shapes that differ and on larger volumes.
IWSEG_BACKENDS(
    void label_components(Stream stream, View mask, View labels, std::int32_t* counts, int connectivity);)
