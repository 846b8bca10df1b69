#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/extent.h"
#include "kernels/device/declare.h"

/// Connected components for programs: memory of the caller's process in, labels and their number out, in one call on
/// the CPU. What runs on a device's own memory is kernels/components/components.h.
namespace iwseg {

/// What components_of finds.
struct Components {
    /// (D, H, W): background 0, components 1, 2, … in the raster order of their first voxels.
    std::vector<std::int32_t> labels;
    std::int32_t count = 0;
};

/// Labels the connected components of a mask.
/// mask: (D, H, W), W innermost, a byte a voxel, nonzero is foreground. shape: D, H, W in voxels; 0 is allowed, at most
/// 2^31 - 1 voxels in all. connectivity: neighbours that share a face (6), also an edge (18), also a corner (26). host:
/// a thread pool's (ThreadPool::stream()); the default computes on the calling thread. The result is the same bytes.
/// Throws std::invalid_argument, in one sentence, on another connectivity, a negative side, a larger volume, and a mask
/// of another size than the shape's.
Components components_of(std::span<const std::uint8_t> mask, const Extent& shape, int connectivity = 26,
                         Stream host = {});

/// The same into memory of the caller's, which is of the mask's size: else it throws too. Returns how many there are.
std::int32_t components_of(std::span<const std::uint8_t> mask, const Extent& shape, int connectivity,
                           std::span<std::int32_t> labels, Stream host = {});

}  // namespace iwseg
