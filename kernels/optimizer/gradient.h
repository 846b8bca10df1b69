#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/optimizer/update_step.h"

// What becomes of gradients before parameters are updated by them. Flat f32 buffers of `count` elements.

/// Adds the gradients of a batch to those of the step's batches before it: sum = step->first_batch ? g : sum + g. Of
/// the step's last batch the gradient then becomes `factor` times the sum. step lies in memory of the device.
IWSEG_BACKENDS(void accumulate_gradient(Stream stream, const UpdateStep* step, float factor, std::int64_t count,
                                        float* gradient, float* sum);)
/// Where the Euclidean norm of all elements together is above `limit`, makes it `limit` by one factor, as PyTorch's
/// clip_grad_norm_: limit / (norm + 1e-6), where that is below 1. A norm that is not a number makes all so. The norm
/// is summed in double, in an order that does not depend on threads. scratch: clip_scratch_bytes, aligned to 8.
IWSEG_BACKENDS(void clip_gradient(Stream stream, float limit, std::int64_t count, float* gradient, void* scratch);
               std::int64_t clip_scratch_bytes(std::int64_t count);)
