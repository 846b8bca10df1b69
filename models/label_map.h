#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

namespace iwseg {

/// Labels of a scan's voxels, 0 at first, in the narrowest type that files have for the values that there may be: u8,
/// i16 or i32.
class LabelMap {
  public:
    using Voxels = std::variant<std::vector<std::uint8_t>, std::vector<std::int16_t>, std::vector<std::int32_t>>;

    LabelMap() = default;
    /// values: every label that will be set, of which none is below 0; 0 beside them.
    LabelMap(std::int64_t voxels, const std::vector<std::int32_t>& values) {
        const auto size = static_cast<std::size_t>(voxels);
        switch (bytes_a_voxel(values)) {
            case 1:
                voxels_ = std::vector<std::uint8_t>(size);
                break;
            case 2:
                voxels_ = std::vector<std::int16_t>(size);
                break;
            default:
                voxels_ = std::vector<std::int32_t>(size);
        }
    }

    static std::int64_t bytes_a_voxel(const std::vector<std::int32_t>& values) {
        const std::int32_t most = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
        if (most <= std::numeric_limits<std::uint8_t>::max()) return 1;
        return most <= std::numeric_limits<std::int16_t>::max() ? 2 : 4;
    }

    std::size_t size() const {
        return std::visit([](const auto& voxels) { return voxels.size(); }, voxels_);
    }
    std::int32_t operator[](std::size_t voxel) const {
        return std::visit([&](const auto& voxels) -> std::int32_t { return voxels[voxel]; }, voxels_);
    }
    void set(std::size_t voxel, std::int32_t label) {
        std::visit([&]<class T>(std::vector<T>& voxels) { voxels[voxel] = static_cast<T>(label); }, voxels_);
    }

    /// The vector of the map's type, which is given away.
    Voxels take() { return std::exchange(voxels_, Voxels()); }
    std::vector<std::int32_t> as_i32() const {
        return std::visit([](const auto& voxels) { return std::vector<std::int32_t>(voxels.begin(), voxels.end()); },
                          voxels_);
    }

  private:
    Voxels voxels_;
};

}  // namespace iwseg
