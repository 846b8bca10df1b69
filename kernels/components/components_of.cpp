#include "kernels/components/components_of.h"

#include "kernels/components/components.h"
#include "kernels/components/host_volume.h"
#include "kernels/device/const_view.h"

namespace iwseg {
namespace {

constexpr const char* kFunction = "components_of";

}  // namespace

std::int32_t components_of(std::span<const std::uint8_t> mask, const Extent& shape, int connectivity,
                           std::span<std::int32_t> labels, Stream host) {
    const std::int64_t voxels = voxels_of_host(shape, kFunction);
    require_host_size(mask.size(), voxels, "a mask", kFunction);
    require_host_size(labels.size(), voxels, "labels", kFunction);
    require_connectivity(connectivity, kFunction);
    if (voxels == 0) return 0;
    const Shape one{1, 1, shape[0], shape[1], shape[2]};
    std::int32_t count = 0;
    cpu::label_components(host, to_read({mask.data(), one, Type::u8}), {labels.data(), one, Type::i32}, &count,
                          connectivity, nullptr);
    return count;
}

Components components_of(std::span<const std::uint8_t> mask, const Extent& shape, int connectivity, Stream host) {
    const std::int64_t voxels = voxels_of_host(shape, kFunction);
    require_host_size(mask.size(), voxels, "a mask",
                      kFunction);  // before memory is taken for a shape that is not the mask's
    Components found{std::vector<std::int32_t>(static_cast<std::size_t>(voxels)), 0};
    found.count = components_of(mask, shape, connectivity, found.labels, host);
    return found;
}

}  // namespace iwseg
