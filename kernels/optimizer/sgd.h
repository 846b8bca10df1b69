#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/optimizer/update_step.h"

namespace iwseg {

struct SgdOptions {
    float momentum = 0.9f, weight_decay = 0.0f;
    bool nesterov = true;
};

}  // namespace iwseg

/// One update of all parameters, as PyTorch's SGD: g += weight_decay * value; v = momentum * v + g;
/// value -= rate * (nesterov ? g + momentum * v : v). Nothing changes where step->last_batch is 0. Flat f32 buffers of
/// `count` elements; step lies in memory of the device.
IWSEG_BACKENDS(void sgd_update(Stream stream, const SgdOptions& options, const UpdateStep* step, std::int64_t count,
                               const float* gradient, float* momentum, float* value);)
