#pragma once

#include <cstdint>

#include "kernels/device/backend.h"

namespace iwseg {

struct SgdOptions {
    float momentum = 0.9f, weight_decay = 0.0f;
    bool nesterov = true;
};

}  // namespace iwseg

/// One update of all parameters, as PyTorch's SGD: g += weight_decay * value; v = momentum * v + g;
/// value -= learning_rate * (nesterov ? g + momentum * v : v). Flat f32 buffers of `count` numbers. learning_rate: one
/// f32 in memory of the device, so that recorded work may be given another.
IWSEG_BACKENDS(void sgd_update(Stream stream, const SgdOptions& options, const float* learning_rate, std::int64_t count,
                               const float* gradient, float* momentum, float* value);)
