#pragma once

#include <cstdint>

#include "kernels/components/ignored.h"
#include "kernels/device/declare.h"
#include "kernels/device/view.h"
#include "kernels/loss/formulas.h"

namespace iwseg {

/// What one call of loss_value and one of loss_gradient compute: a term of a loss, or a sum of some.
struct LossPass {
    formulas::PassFormula formula;
    bool weighted = false;  ///< by the labels and weights of the input; else every weight is 1
    float warmup = 0;       ///< steps over which it rises from nothing to its whole; 0: it is there from the first
};

/// What a loss is computed from. N samples of V voxels, one output channel.
struct LossInput {
    View logit;                            ///< (N, 1, D, H, W) f32 or bf16, ncdhw
    const std::uint8_t* target = nullptr;  ///< (N, D, H, W): 0, 1 or kIgnored
    const std::int32_t* labels = nullptr;  ///< (N, D, H, W), for weighted passes; read where the target is 1
    const float* weights = nullptr;  ///< (N, stride): the weight of each label; of background it is that of label 0
    std::int64_t stride = 0;
    /// (N, D, H, W): label of the lesion nearest to each voxel (kernels/components/nearest_lesion.h), of passes over
    /// these.
    const std::int32_t* nearest = nullptr;
    const float* step = nullptr;  ///< memory of the device: steps done before this one; null: after all warm-ups
};

}  // namespace iwseg

/// Bytes of scratch that the two share; what loss_value leaves there, loss_gradient reads.
/// loss_value: one fused pass for the sums, in a fixed order. *value receives the loss, or has it added (f64, memory of
/// the device).
/// loss_gradient: one fused pass; diff_logit: like logit, f32 or bf16; receives d loss / d logit, or has it added.
/// A sample with a zero denominator gives loss 0 and gradient 0; so does a batch of which every voxel is ignored.
/// Means are over the voxels that are not ignored; losses that are a mean over samples count every sample.
/// Throws std::invalid_argument on logits of more than one channel, on a weighted pass without labels or weights, and
/// where its formula takes no weights.
IWSEG_BACKENDS(std::int64_t loss_scratch_bytes(const Shape& logit);
               void loss_value(Stream stream, const LossPass& pass, const LossInput& input, void* scratch,
                               double* value, Write write);
               void loss_gradient(Stream stream, const LossPass& pass, const LossInput& input, const void* scratch,
                                  View diff_logit, Write write);)
