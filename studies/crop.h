#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/volume/volume.h"

namespace iwseg {

/// A box of voxels of a scan along i, j, k: first up to, but not with, end.
struct VoxelBox {
    std::array<std::int64_t, 3> first{}, end{};

    std::array<std::int64_t, 3> shape() const;

    bool operator==(const VoxelBox&) const = default;
};

/// The smallest box that holds every nonzero voxel of a mask (D, H, W); nothing where there is none.
std::optional<VoxelBox> bounding_box(const std::vector<std::uint8_t>& mask, const std::array<std::int64_t, 3>& shape);

/// The box with a margin (voxels) on every side, limited to the scan.
VoxelBox with_margin(const VoxelBox& box, std::int64_t margin, const std::array<std::int64_t, 3>& shape);

/// Where the box's voxels lie: the affine's origin moves to the box's first voxel.
Geometry crop(const Geometry& geometry, const VoxelBox& box);

/// The voxels of the box, which must lie inside the scan. T: float, std::uint8_t.
template <class T>
Volume<T> crop(const Volume<T>& volume, const VoxelBox& box);

}  // namespace iwseg
