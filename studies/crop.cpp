#include "studies/crop.h"

#include <algorithm>

#include "base/extent.h"

namespace iwseg {

Extent VoxelBox::shape() const {
    return {end[0] - first[0], end[1] - first[1], end[2] - first[2]};
}

std::optional<VoxelBox> bounding_box(const std::vector<std::uint8_t>& mask, const Extent& shape) {
    VoxelBox box{shape, {0, 0, 0}};
    for (std::int64_t i = 0; i < shape[0]; ++i)
        for (std::int64_t j = 0; j < shape[1]; ++j) {
            const auto row = mask.begin() + (i * shape[1] + j) * shape[2], end = row + shape[2];
            const auto nonzero = [](std::uint8_t voxel) { return voxel != 0; };
            const auto low = std::find_if(row, end, nonzero);
            if (low == end) continue;
            const auto high =
                std::find_if(std::make_reverse_iterator(end), std::make_reverse_iterator(row), nonzero).base();
            const Extent first{i, j, low - row}, after{i + 1, j + 1, high - row};
            for (int axis = 0; axis < 3; ++axis) {
                box.first[axis] = std::min(box.first[axis], first[axis]);
                box.end[axis] = std::max(box.end[axis], after[axis]);
            }
        }
    if (box.end[0] == 0) return std::nullopt;
    return box;
}

VoxelBox with_margin(const VoxelBox& box, std::int64_t margin, const Extent& shape) {
    VoxelBox wider;
    for (int axis = 0; axis < 3; ++axis) {
        wider.first[axis] = std::max<std::int64_t>(box.first[axis] - margin, 0);
        wider.end[axis] = std::min(box.end[axis] + margin, shape[axis]);
    }
    return wider;
}

Geometry crop(const Geometry& geometry, const VoxelBox& box) {
    return geometry.part(box.first, box.shape());
}

template <class T>
Volume<T> crop(const Volume<T>& volume, const VoxelBox& box) {
    const Extent &outer = volume.geometry.shape, inner = box.shape();
    Volume<T> cropped{crop(volume.geometry, box), {}};
    cropped.voxels.resize(static_cast<std::size_t>(cropped.geometry.voxels()));
    for (std::int64_t i = 0; i < inner[0]; ++i)
        for (std::int64_t j = 0; j < inner[1]; ++j) {
            const std::int64_t from = ((box.first[0] + i) * outer[1] + box.first[1] + j) * outer[2] + box.first[2];
            std::copy_n(&volume.voxels[from], inner[2], &cropped.voxels[(i * inner[1] + j) * inner[2]]);
        }
    return cropped;
}

template Volume<float> crop(const Volume<float>&, const VoxelBox&);
template Volume<std::uint8_t> crop(const Volume<std::uint8_t>&, const VoxelBox&);

}  // namespace iwseg
