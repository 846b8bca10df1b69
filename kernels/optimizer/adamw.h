#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/optimizer/update_step.h"

namespace iwseg {

struct AdamWOptions {
    float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f, weight_decay = 1e-2f;
};

}  // namespace iwseg

/// One update of all parameters, as PyTorch's AdamW (Loshchilov and Hutter, ICLR 2019): value -= rate * weight_decay *
/// value; mean = beta1 * mean + (1 - beta1) * g; square = beta2 * square + (1 - beta2) * g^2; value -= rate *
/// mean_factor * mean / (deviation_factor * sqrt(square) + epsilon). Nothing changes where step->last_batch is 0. Flat
/// f32 buffers of `count` elements; step lies in memory of the device.
IWSEG_BACKENDS(void adamw_update(Stream stream, const AdamWOptions& options, const UpdateStep* step, std::int64_t count,
                                 const float* gradient, float* mean, float* square, float* value);)
