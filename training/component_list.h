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
    /// Where classes are told apart: the label (from 1) of each component, ascending. Components are then those of one
    /// label each. Empty: lesions are of no class.
    std::vector<std::int32_t> classes{};

    /// What a voxel of the component (from 0) is labelled with: its number, from 1, or its class's label.
    std::int32_t label_of(std::int64_t component) const {
        return classes.empty() ? static_cast<std::int32_t>(component) + 1
                               : classes[static_cast<std::size_t>(component)];
    }
    /// The largest of them; 0 where there is none.
    std::int32_t largest_label() const { return size() == 0 ? 0 : label_of(size() - 1); }
    std::int64_t size() const { return static_cast<std::int64_t>(boxes.size()); }
};

/// Writes what each voxel of a component is labelled with to labels (D, H, W), which are 0 before.
void write_labels(const ComponentList& components, std::int32_t* labels);

/// The component lists of a mask (D, H, W), nonzero is lesion. connectivity: 6, 18 or 26. Throws std::invalid_argument
/// on others.
ComponentList list_components(const std::vector<std::uint8_t>& mask, const std::array<std::int64_t, 3>& shape,
                              int connectivity);

/// The same of a map of labels (D, H, W), from 0, background, to `labels`: components of each label by itself.
ComponentList list_class_components(const std::vector<std::uint8_t>& map, std::int32_t labels,
                                    const std::array<std::int64_t, 3>& shape, int connectivity);

}  // namespace iwseg
