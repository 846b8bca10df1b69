#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace iwseg {

struct SgdOptions {
    float learning_rate = 1e-2f, momentum = 0.9f, weight_decay = 0.0f;
    bool nesterov = true;
};

}  // namespace iwseg

/// One update of all parameters, as PyTorch's SGD: g += weight_decay * value; v = momentum * v + g;
/// value -= learning_rate * (nesterov ? g + momentum * v : v). Flat f32 buffers of `count` numbers.
IWSEG_BACKENDS(
    void sgd_update(Stream stream, const SgdOptions& options, std::int64_t count, const float* gradient,
                    float* momentum, float* value);)
