#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
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

/// What becomes of a normalised value: below 0 it is multiplied by `slope`.
struct NormActivation {
    float slope = 1;  ///< 1: nothing; 0: ReLU; between them: LeakyReLU

    IWSEG_HOST_DEVICE float operator()(float value) const { return value < 0.0f ? below(value) : value; }
    /// Of a value's gradient, where the value is not above 0.
    IWSEG_HOST_DEVICE float below(float value) const { return slope > 0.0f ? slope * value : 0.0f; }
};
constexpr NormActivation kNoActivation{1.0f}, kRelu{0.0f};

}  // namespace iwseg

/// Batch normalisation over (N, D, H, W), with an activation after it. x, y: (N, C, D, H, W), f32 or bf16, one layout.
IWSEG_BACKENDS(
    /// Bytes that batch_norm_statistics and batch_norm_backward need beside their tensors.
    std::int64_t batch_norm_scratch_bytes(const Shape& shape, Layout layout);
    void batch_norm_statistics(Stream stream, View x, float epsilon, BatchNormStatistics statistics,
                               RunningStatistics running, void* scratch);
    /// Statistics from running ones, for prediction.
    void batch_norm_running_statistics(Stream stream, std::int64_t channels, float epsilon, RunningStatistics running,
                                       BatchNormStatistics statistics);
    /// y = activation((x - mean) * inverse_deviation * scale + shift); y may be x.
    void batch_norm_apply(Stream stream, View x, BatchNormStatistics statistics, BatchNormWeights weights,
                          NormActivation activation, View y);
    /// Gradients through statistics and activation, whose mask is recomputed from x. diff_x may be diff_y.
    /// diff_scale, diff_shift: C values, overwritten.
    void batch_norm_backward(Stream stream, View x, View diff_y, BatchNormStatistics statistics,
                             BatchNormWeights weights, NormActivation activation, View diff_x, Write write,
                             float* diff_scale, float* diff_shift, void* scratch);)
