#pragma once

#include <cstdint>

#include "kernels/components/ignored.h"
#include "kernels/components/inverse_weights.h"
#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

/// One more than any label that component_weights gives to a mask of this shape: the stride of its table.
constexpr std::int64_t component_label_bound(const Shape& mask, int connectivity) {
    const auto half = [](std::int64_t side) { return (side + 1) / 2; };
    return 1 + (connectivity == 26 ? half(mask.d) * half(mask.h) * half(mask.w) : mask.voxels());
}

}  // namespace iwseg

/// From the masks of patches to what a weighted loss reads, in one go and without waiting for the host: components are
/// found, counted and weighed as inverse_weight_table does.
/// mask: (N, 1, D, H, W) u8, nonzero is foreground but for kIgnored, which is in no component, no background and not
/// among the voxels of the patch. connectivity: 6, 18 or 26.
/// labels: same shape, i32. A voxel of foreground receives the label of its component, a number from 1 to
/// component_label_bound - 1 that need not follow on others. Background and what is ignored are 0, or left as they
/// were. table: (N, component_label_bound) f32, memory of the device; table[n][l] receives the weight of label l in
/// patch n, table[n][0] that of background. Places of labels that are not given are left as they were. Throws
/// std::invalid_argument as label_components does.
IWSEG_BACKENDS(std::int64_t component_weights_scratch_bytes(const Shape& mask, int connectivity);
               void component_weights(Stream stream, View mask, int connectivity, WeightClip clip, View labels,
                                      float* table, void* scratch);)
