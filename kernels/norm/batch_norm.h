#pragma once

#include <cstdint>

#include "kernels/device/backend.h"
#include "kernels/device/view.h"

namespace iwseg {

/// Per channel, f32, C values each. Channels that only pad a block have none.
struct BatchNormStatistics {
    float* mean = nullptr;
    float* inverse_deviation = nullptr;  ///< 1 / sqrt(biased variance + epsilon)
};

struct BatchNormWeights {
    const float* scale = nullptr;  ///< gamma
    const float* shift = nullptr;  ///< beta
};

/// Running statistics as PyTorch keeps them: new = (1 - momentum) old + momentum batch, variance unbiased.
struct RunningStatistics {
    float* mean = nullptr;
    float* variance = nullptr;
    float momentum = 0.1f;
};

}  // namespace iwseg

/// Batch normalisation over (N, D, H, W), with ReLU where asked. x, y: (N, C, D, H, W), f32 or bf16, one layout.
IWSEG_BACKENDS(
    /// Bytes that batch_norm_statistics and batch_norm_backward need beside their tensors.
    std::int64_t batch_norm_scratch_bytes(const Shape& shape, Layout layout);
    void batch_norm_statistics(Stream stream, View x, float epsilon, BatchNormStatistics statistics,
                               RunningStatistics running, void* scratch);
    /// Statistics from running ones, for prediction.
    void batch_norm_running_statistics(Stream stream, std::int64_t channels, float epsilon, RunningStatistics running,
                                       BatchNormStatistics statistics);
    /// y = relu((x - mean) * inverse_deviation * scale + shift), ReLU where asked; y may be x.
    void batch_norm_apply(Stream stream, View x, BatchNormStatistics statistics, BatchNormWeights weights, bool relu,
                          View y);
    /// Gradients through statistics and ReLU, whose mask is recomputed from x. diff_x may be diff_y.
    /// diff_scale, diff_shift: C values, overwritten.
    void batch_norm_backward(Stream stream, View x, View diff_y, BatchNormStatistics statistics,
                             BatchNormWeights weights, bool relu, View diff_x, Write write, float* diff_scale,
                             float* diff_shift, void* scratch);)
