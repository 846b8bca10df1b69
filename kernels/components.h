#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/backend.h"
#include "kernels/view.h"

/// Connected components of binary masks.
/// mask: (N, 1, D, H, W) u8, nonzero is foreground. labels: same shape, i32; background 0, components 1, 2, … in the
/// raster order of each component's first voxel (the numbering of scikit-image and SciPy), each of the N on its own.
/// counts: N numbers of components, memory of the device. connectivity: 6, 18 or 26. At most 2^31 - 1 voxels a volume.
/// scratch: as many bytes as components_scratch_bytes says; on the CPU that is none.
/// Throws std::invalid_argument on other connectivities, on shapes that differ and on larger volumes.
IWSEG_BACKENDS(
    std::int64_t components_scratch_bytes(const Shape& mask, int connectivity);
    void label_components(Stream stream, View mask, View labels, std::int32_t* counts, int connectivity,
                          void* scratch);)

namespace iwseg {

/// What every backend refuses.
inline void require_mask(const View& mask, int connectivity, const char* operation) {
    if (connectivity != 6 && connectivity != 18 && connectivity != 26)
        throw std::invalid_argument(std::string(operation) + ": connectivity is 6, 18 or 26, not " +
                                    std::to_string(connectivity));
    if (mask.type != Type::u8 || mask.shape.c != 1 || block_of(mask.layout, 1) != 1)
        throw std::invalid_argument(std::string(operation) + ": expected a u8 mask of one channel");
    if (mask.shape.voxels() > INT32_MAX)
        throw std::invalid_argument(std::string(operation) + ": a volume of " + std::to_string(mask.shape.voxels()) +
                                    " voxels; at most 2147483647 can be labelled");
}

}  // namespace iwseg
