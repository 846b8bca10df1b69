#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/device/const_view.h"
#include "kernels/device/declare.h"
#include "kernels/device/view.h"

/// Connected components of binary masks.
/// mask: (N, 1, D, H, W) u8, nonzero is foreground. labels: same shape, i32; background 0, components 1, 2, … in the
/// raster order of each component's first voxel (the numbering of scikit-image and SciPy), each of the N on its own.
/// counts: N numbers of components, memory of the device. connectivity: 6, 18 or 26. At most 2^31 - 1 voxels a volume.
/// scratch: as many bytes as components_scratch_bytes says; on the CPU that is none.
/// Throws std::invalid_argument on other connectivities, on shapes that differ and on larger volumes.
IWSEG_BACKENDS(std::int64_t components_scratch_bytes(const Shape& mask, int connectivity);
               void label_components(Stream stream, View mask, View labels, std::int32_t* counts, int connectivity,
                                     void* scratch);)

namespace iwseg {

/// Voxels of a volume that can be labelled: labels are 32 bits.
constexpr std::int64_t kMostVoxels = INT32_MAX;

/// Neighbours of a voxel: those that share a face, also an edge, also a corner.
constexpr std::array<int, 3> kConnectivities{6, 18, 26};
constexpr bool is_connectivity(int value) {
    return value == kConnectivities[0] || value == kConnectivities[1] || value == kConnectivities[2];
}

inline void require_connectivity(int connectivity, const char* operation) {
    if (!is_connectivity(connectivity))
        throw std::invalid_argument(std::string(operation) + ": connectivity is 6, 18 or 26, not " +
                                    std::to_string(connectivity));
}

/// What every backend refuses.
inline void require_mask(const ConstView& mask, int connectivity, const char* operation) {
    require_connectivity(connectivity, operation);
    if (mask.type != Type::u8 || mask.shape.c != 1 || block_of(mask.layout, 1) != 1)
        throw std::invalid_argument(std::string(operation) + ": expected a u8 mask of one channel");
    if (mask.shape.voxels() > kMostVoxels)
        throw std::invalid_argument(std::string(operation) + ": a volume of " + std::to_string(mask.shape.voxels()) +
                                    " voxels; at most " + std::to_string(kMostVoxels) + " can be labelled");
}

}  // namespace iwseg
