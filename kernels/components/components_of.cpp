#include "kernels/components/components_of.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/components/components.h"
#include "kernels/device/const_view.h"

namespace iwseg {
namespace {

/// The number of voxels. Throws on sides whose product may not be taken.
std::int64_t require_sides(const Extent& shape) {
    const auto text = [&] {
        return std::to_string(shape[0]) + " x " + std::to_string(shape[1]) + " x " + std::to_string(shape[2]);
    };
    std::int64_t voxels = 1;
    for (const std::int64_t side : shape)
        if (side < 0)
            throw std::invalid_argument("components_of: a shape of " + text() + " voxels, expected none below 0");
    if (std::count(shape.begin(), shape.end(), 0) > 0) return 0;
    for (const std::int64_t side : shape) {
        if (side > kMostVoxels / voxels)
            throw std::invalid_argument("components_of: a shape of " + text() + " voxels, expected at most " +
                                        std::to_string(kMostVoxels) + " in all");
        voxels *= side;
    }
    return voxels;
}

void require_size(const char* what, std::size_t size, std::int64_t voxels) {
    if (size != static_cast<std::size_t>(voxels))
        throw std::invalid_argument("components_of: " + std::string(what) + " of " + std::to_string(size) +
                                    " voxels for a shape of " + std::to_string(voxels));
}

}  // namespace

std::int32_t components_of(std::span<const std::uint8_t> mask, const Extent& shape, int connectivity,
                           std::span<std::int32_t> labels, Stream host) {
    const std::int64_t voxels = require_sides(shape);
    require_size("a mask", mask.size(), voxels);
    require_size("labels", labels.size(), voxels);
    require_connectivity(connectivity, "components_of");
    if (voxels == 0) return 0;
    const Shape one{1, 1, shape[0], shape[1], shape[2]};
    std::int32_t count = 0;
    cpu::label_components(host, to_read({mask.data(), one, Type::u8}), {labels.data(), one, Type::i32}, &count,
                          connectivity, nullptr);
    return count;
}

Components components_of(std::span<const std::uint8_t> mask, const Extent& shape, int connectivity, Stream host) {
    const std::int64_t voxels = require_sides(shape);
    require_size("a mask", mask.size(), voxels);  // before memory is taken for a shape that is not the mask's
    Components found{std::vector<std::int32_t>(static_cast<std::size_t>(voxels)), 0};
    found.count = components_of(mask, shape, connectivity, found.labels, host);
    return found;
}

}  // namespace iwseg
