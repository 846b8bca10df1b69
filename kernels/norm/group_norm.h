#pragma once

#include "kernels/norm/batch_norm.h"

/// Group normalisation over the channels of a group and (D, H, W) of each sample, with an activation after it (Wu and
/// He, 2018); of one channel a group it is instance normalisation. x, y: (N, C, D, H, W), f32 or bf16, one layout.
/// groups divide C. statistics: (N, C), those of a group at each of its channels. weights: C each.
IWSEG_BACKENDS(
    /// Bytes that group_norm_statistics and group_norm_backward need beside their tensors.
    std::int64_t group_norm_scratch_bytes(const Shape& shape, Layout layout);
    void group_norm_statistics(Stream stream, View x, std::int64_t groups, float epsilon,
                               BatchNormStatistics statistics, void* scratch);
    /// y = activation((x - mean) * inverse_deviation * scale + shift); y may be x.
    void group_norm_apply(Stream stream, View x, BatchNormStatistics statistics, BatchNormWeights weights,
                          NormActivation activation, View y);
    /// As batch_norm_backward. diff_scale, diff_shift: C values, overwritten with sums over all samples.
    void group_norm_backward(Stream stream, View x, View diff_y, std::int64_t groups, BatchNormStatistics statistics,
                             BatchNormWeights weights, NormActivation activation, View diff_x, Write write,
                             float* diff_scale, float* diff_shift, void* scratch);)
