#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/view.h"

namespace iwseg {

struct WeightClip {
    float low = 1.0f, high = 2e5f;
};

}  // namespace iwseg

/// Inverse weights of a patch (Shirokikh et al., MICCAI 2020): a voxel of component C weighs V / ((K + 1) |C|),
/// clipped, background counting as one more component; V voxels and K components in the patch, |C| voxels of C in it.
/// A patch without background has K = its label count less one, as the original.
/// labels: (N, 1, D, H, W) i32, 0 background, any nonnegative values up to `stride - 1`.
/// table: (N, stride) f32, table[n][l] the weight of label l in patch n, 0 for labels that do not occur.
IWSEG_BACKENDS(
    void inverse_weight_table(Stream stream, View labels, float* table, std::int64_t stride, WeightClip clip);
    /// weights[v] = table[n][labels[v]]; weights: (N, 1, D, H, W) f32.
    void look_up_weights(Stream stream, View labels, const float* table, std::int64_t stride, View weights);)
