#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"
#include "kernels/loss/loss.h"

namespace iwseg {

/// The mean cross-entropy of the hardest voxels of a batch: of the known ones so many percent, rounded down, at least
/// one (Wu et al., Bridging Category-level and Instance-level Semantic Image Segmentation, 2016; nnU-Net's TopKLoss).
struct HardestPass {
    float percent = 10;  ///< above 0, at most 100
    float factor = 1;
    float warmup = 0;  ///< as LossPass has it
};

}  // namespace iwseg

/// As loss_value and loss_gradient, of a HardestPass. Voxels that are as hard as the last one which counts share what
/// is left: the order of voxels and threads does not show. A batch of which nothing is known has the value 0 and no
/// gradient. A logit that is not a number is the hardest. Labels are not read. Throws std::invalid_argument on logits
/// of more than one channel.
IWSEG_BACKENDS(std::int64_t hardest_voxels_scratch_bytes(const Shape& logit);
               void hardest_voxels_value(Stream stream, const HardestPass& pass, const LossInput& input, void* scratch,
                                         double* value, Write write);
               void hardest_voxels_gradient(Stream stream, const HardestPass& pass, const LossInput& input,
                                            const void* scratch, View diff_logit, Write write);)
