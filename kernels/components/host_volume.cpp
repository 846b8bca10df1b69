#include "kernels/components/host_volume.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/components/components.h"

namespace iwseg {

std::int64_t voxels_of_host(const Extent& shape, const char* function) {
    const auto text = [&] {
        return std::to_string(shape[0]) + " x " + std::to_string(shape[1]) + " x " + std::to_string(shape[2]);
    };
    std::int64_t voxels = 1;
    for (const std::int64_t side : shape)
        if (side < 0)
            throw std::invalid_argument(std::string(function) + ": a shape of " + text() +
                                        " voxels, expected none below 0");
    if (std::count(shape.begin(), shape.end(), 0) > 0) return 0;
    for (const std::int64_t side : shape) {
        if (side > kMostVoxels / voxels)
            throw std::invalid_argument(std::string(function) + ": a shape of " + text() +
                                        " voxels, expected at most " + std::to_string(kMostVoxels) + " in all");
        voxels *= side;
    }
    return voxels;
}

void require_host_size(std::size_t size, std::int64_t voxels, const char* what, const char* function) {
    if (size != static_cast<std::size_t>(voxels))
        throw std::invalid_argument(std::string(function) + ": " + what + " of " + std::to_string(size) +
                                    " voxels for a shape of " + std::to_string(voxels));
}

}  // namespace iwseg
