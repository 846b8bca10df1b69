#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"
#include "kernels/loss/loss.h"

namespace iwseg {

/// The mean over a batch's lesions of -log of the largest probability within each: 0 once every lesion has one sure
/// voxel, however much of it is missed (the multiple instance term of CATMIL, arXiv 2604.08015; without its limit of p
/// to 1e-6, below which a lesion would teach nothing).
struct LesionMaximumPass {
    float factor = 1;
    float warmup = 0;  ///< as LossPass has it
};

}  // namespace iwseg

/// As loss_value and loss_gradient, of a LesionMaximumPass. Lesions are the labels, from 1 to stride - 1, of voxels
/// whose target is 1; a batch without any has the value 0 and no gradient. The gradient of a lesion is that of its
/// voxel of the largest logit alone, of equal ones the first in raster order. A logit that is not a number is the
/// largest. Throws std::invalid_argument on logits of more than one channel and without labels.
IWSEG_BACKENDS(std::int64_t lesion_maximum_scratch_bytes(const Shape& logit, std::int64_t stride);
               void lesion_maximum_value(Stream stream, const LesionMaximumPass& pass, const LossInput& input,
                                         void* scratch, double* value, Write write);
               void lesion_maximum_gradient(Stream stream, const LesionMaximumPass& pass, const LossInput& input,
                                            const void* scratch, View diff_logit, Write write);)
