#include "training/component_list.h"

#include <algorithm>

#include "kernels/components/components_of.h"

namespace iwseg {

void write_labels(const ComponentList& components, std::int32_t* labels) {
    for (std::int64_t component = 0; component < components.size(); ++component)
        for (std::int64_t v = components.offsets[component]; v < components.offsets[component + 1]; ++v)
            labels[components.voxels[v]] = components.label_of(component);
}

ComponentList list_components(const std::vector<std::uint8_t>& mask, const std::array<std::int64_t, 3>& shape,
                              int connectivity) {
    const auto [labels, count] = components_of(mask, shape, connectivity);
    ComponentList list;
    list.connectivity = connectivity;
    list.offsets.assign(static_cast<std::size_t>(count) + 1, 0);
    list.boxes.assign(count, {{INT32_MAX, INT32_MAX, INT32_MAX}, {-1, -1, -1}});
    for (const std::int32_t label : labels)
        if (label > 0) ++list.offsets[label];
    for (std::int32_t label = 1; label <= count; ++label) list.offsets[label] += list.offsets[label - 1];
    list.voxels.resize(static_cast<std::size_t>(list.offsets[count]));
    std::vector<std::int64_t> place(list.offsets.begin(), list.offsets.end() - 1);
    for (std::size_t v = 0; v < labels.size(); ++v) {
        if (labels[v] == 0) continue;
        const std::int32_t component = labels[v] - 1;
        list.voxels[place[component]++] = static_cast<std::uint32_t>(v);
        const auto voxel = static_cast<std::int64_t>(v);
        const std::array<std::int64_t, 3> at{voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1],
                                             voxel % shape[2]};
        ComponentList::Box& box = list.boxes[component];
        for (int axis = 0; axis < 3; ++axis) {
            box.first[axis] = std::min(box.first[axis], static_cast<std::int32_t>(at[axis]));
            box.last[axis] = std::max(box.last[axis], static_cast<std::int32_t>(at[axis]));
        }
    }
    return list;
}

ComponentList list_class_components(const std::vector<std::uint8_t>& map, std::int32_t labels,
                                    const std::array<std::int64_t, 3>& shape, int connectivity) {
    ComponentList all;
    all.connectivity = connectivity;
    std::vector<std::uint8_t> mask(map.size());
    for (std::int32_t label = 1; label <= labels; ++label) {
        std::transform(map.begin(), map.end(), mask.begin(), [&](std::uint8_t at) { return at == label; });
        const ComponentList own = list_components(mask, shape, connectivity);
        const auto before = static_cast<std::int64_t>(all.voxels.size());
        all.voxels.insert(all.voxels.end(), own.voxels.begin(), own.voxels.end());
        for (std::size_t i = 1; i < own.offsets.size(); ++i) all.offsets.push_back(before + own.offsets[i]);
        all.boxes.insert(all.boxes.end(), own.boxes.begin(), own.boxes.end());
        all.classes.insert(all.classes.end(), own.boxes.size(), label);
    }
    return all;
}

}  // namespace iwseg
