#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace iwseg {

/// The connected components of a scan's lesion mask, as lists of voxels: small beside the scan, which is mostly
/// background. Component l (from 1) has voxels[offsets[l - 1]] up to voxels[offsets[l]], in ascending order.
struct ComponentList {
    struct Box {
        std::array<std::int32_t, 3> first, last;  ///< inclusive
    };
    std::vector<std::uint32_t> voxels;  ///< index (i * J + j) * K + k
    std::vector<std::int64_t> offsets{0};
    std::vector<Box> boxes;
    int connectivity = 26;

    std::int64_t size() const { return static_cast<std::int64_t>(boxes.size()); }
};

/// Writes the number of each voxel's component to labels (D, H, W), which are 0 before.
void write_labels(const ComponentList& components, std::int32_t* labels);

/// The component lists of a mask (D, H, W), nonzero is lesion. connectivity: 6, 18 or 26. Throws std::invalid_argument
/// on others.
ComponentList list_components(const std::vector<std::uint8_t>& mask, const std::array<std::int64_t, 3>& shape,
                              int connectivity);

}  // namespace iwseg
