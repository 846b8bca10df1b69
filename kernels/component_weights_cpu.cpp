#include "kernels/component_weights.h"

#include <vector>

#include "kernels/components.h"
#include "kernels/cpu_blocks.h"

namespace iwseg::cpu {

std::int64_t component_weights_scratch_bytes(const Shape& mask, int connectivity) {
    return components_scratch_bytes(mask, connectivity);
}

void component_weights(Stream stream, View mask, int connectivity, WeightClip clip, View labels, float* table,
                       void* scratch) {
    std::vector<std::int32_t> counts(mask.shape.n);
    label_components(stream, mask, labels, counts.data(), connectivity, scratch);
    const std::int64_t stride = component_label_bound(mask.shape, connectivity);
    View patch = labels;
    patch.shape.n = 1;
    for (std::int64_t n = 0; n < mask.shape.n; ++n) {
        patch.data = labels.as<std::int32_t>() + n * mask.shape.voxels();
        inverse_weight_table(stream, patch, table + n * stride, counts[n] + 1, clip);
    }
}

}  // namespace iwseg::cpu
