#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"
#include "kernels/loss/loss.h"

namespace iwseg {

/// The voxels that a formula is computed over, once for each lesion of a patch.
enum class LossRegions : std::uint8_t {
    lesion_and_rest,  ///< the lesion and all that is no lesion: other lesions are left out, of output and target
    nearest           ///< all voxels that no other lesion is nearer to, as LossInput::nearest says
};

/// A formula of each region, the mean over a patch's lesions, then over patches.
struct RegionPass {
    formulas::RegionFormula formula;
    LossRegions regions = LossRegions::lesion_and_rest;
    float warmup = 0;  ///< as LossPass has it
};

}  // namespace iwseg

/// As loss_value and loss_gradient, of a RegionPass: each voxel is read once for the sums of all regions, whatever the
/// number of lesions. Lesions are the labels, from 1 to stride - 1, of voxels whose target is 1. A patch without
/// lesions has no region of the first kind, and is left out of the mean over patches: a batch of such has the value 0
/// and no gradient. Of the second kind it is one region as a whole.
/// Sums are added as integers of 2^-32, so that their order does not show; what a thread adds at once is finite and at
/// most 2^20, or the value is none or infinite. Throws std::invalid_argument on logits of more than one channel, and
/// without labels, or the nearest lesions, where these are read.
IWSEG_BACKENDS(std::int64_t region_loss_scratch_bytes(const Shape& logit, std::int64_t stride);
               void region_loss_value(Stream stream, const RegionPass& pass, const LossInput& input, void* scratch,
                                      double* value, Write write);
               void region_loss_gradient(Stream stream, const RegionPass& pass, const LossInput& input,
                                         const void* scratch, View diff_logit, Write write);)
