#pragma once

#include <cstdint>

#include "kernels/components/ignored.h"
#include "kernels/device/backend.h"
#include "kernels/device/view.h"

namespace iwseg {

/// The formulas behind the losses; `iw` forms give labels and a weight table, the others leave them null.
enum class LossFormula : std::uint8_t { bce, wce, overlap, generalised_dice, focal, sum };

/// What `sum` adds up: a factor for each base term, 0 where there is none. dice: smoothed soft Dice of the batch; ce:
/// cross-entropy; iwdice, iwce: the same with inverse weights.
struct LossTerms {
    float dice = 0, iwdice = 0, ce = 0, iwce = 0;
};

struct LossParameters {
    LossFormula formula = LossFormula::bce;
    float beta2 = 1.0f;    ///< overlap: beta squared; 1 is Dice, 2.25 the asymmetric similarity loss
    float gamma = 2.0f;    ///< focal
    float alpha = 0.75f;   ///< focal
    LossTerms terms = {};  ///< sum
};

/// What a loss is computed from. N samples of V voxels, one output channel.
struct LossInput {
    View logit;                            ///< (N, 1, D, H, W) f32 or bf16, ncdhw
    const std::uint8_t* target = nullptr;  ///< (N, D, H, W): 0, 1 or kIgnored
    const std::int32_t* labels = nullptr;  ///< (N, D, H, W), or null: every weight is 1; read where the target is 1
    const float* weights = nullptr;  ///< (N, stride): the weight of each label; of background it is that of label 0
    std::int64_t stride = 0;
};

}  // namespace iwseg

/// Bytes of scratch that the two passes share; what loss_value leaves there, loss_gradient reads.
/// loss_value: one fused pass for the sums, in a fixed order. *value receives the loss (f64, memory of the device).
/// loss_gradient: one fused pass; diff_logit: like logit, f32 or bf16; receives d loss / d logit.
/// A sample with a zero denominator gives loss 0 and gradient 0; so does a batch of which every voxel is ignored.
/// Means are over the voxels that are not ignored; losses that are a mean over samples count every sample.
/// Throws std::invalid_argument on logits of more than one channel, labels without weights, and labels where the
/// formula takes no inverse weights.
IWSEG_BACKENDS(std::int64_t loss_scratch_bytes(const LossParameters& parameters, const Shape& logit);
               void loss_value(Stream stream, const LossParameters& parameters, const LossInput& input, void* scratch,
                               double* value);
               void loss_gradient(Stream stream, const LossParameters& parameters, const LossInput& input,
                                  const void* scratch, View diff_logit);)
