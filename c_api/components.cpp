#include "kernels/components/components_of.h"

#include <algorithm>
#include <span>
#include <stdexcept>
#include <vector>

#include "c_api/call.h"
#include "include/iwseg/c_api.h"
#include "kernels/components/inverse_weights_of.h"

using namespace iwseg;  // NOLINT: C functions have no namespace

namespace {

std::size_t voxels_in(const Extent& shape) {
    return static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
}

}  // namespace

const char* iwseg_version() {
    return IWSEG_VERSION;
}

const char* iwseg_last_error() {
    return c_api::last_error();
}

int iwseg_components(const std::uint8_t* mask, const std::int64_t* shape, int connectivity, std::int32_t* labels,
                     std::int32_t* count, std::int64_t* sizes, std::int64_t capacity) {
    return c_api::guarded("iwseg_components", [&] {
        c_api::require(mask, "mask");
        c_api::require(labels, "labels");
        c_api::require(count, "count");
        if (capacity < 0) throw std::invalid_argument("a capacity of " + std::to_string(capacity) + " sizes");
        if (capacity > 0) c_api::require(sizes, "sizes");
        const Extent extent = c_api::extent_of(shape);
        const std::size_t voxels = voxels_in(extent);
        *count = components_of({mask, voxels}, extent, connectivity, {labels, voxels});
        const std::int64_t wanted = std::min<std::int64_t>(*count, capacity);
        std::fill_n(sizes, wanted, 0);
        if (wanted == 0) return;
        for (std::size_t v = 0; v < voxels; ++v)
            if (labels[v] > 0 && labels[v] <= wanted) ++sizes[labels[v] - 1];
    });
}

int iwseg_inverse_weights(const std::int32_t* labels, const std::int64_t* shape, float low, float high,
                          float* weights) {
    return c_api::guarded("iwseg_inverse_weights", [&] {
        c_api::require(labels, "labels");
        c_api::require(weights, "weights");
        const Extent extent = c_api::extent_of(shape);
        const std::size_t voxels = voxels_in(extent);
        inverse_weights_of({labels, voxels}, extent, {low, high}, {weights, voxels});
    });
}
