#pragma once

#include <cstdint>
#include <memory>

#include "engine/tensor.h"
#include "kernels/loss/loss.h"
#include "losses/class_loss_options.h"
#include "losses/loss.h"

namespace iwseg {

/// What a loss is computed against: set before each run, in memory of the device.
struct LossTargets {
    const std::uint8_t* target = nullptr;  ///< (N, D, H, W), 0, 1, or kIgnored: in no sum
    const std::int32_t* labels = nullptr;  ///< (N, D, H, W), of losses that read labels (Loss::reads_labels); of
                                           ///< several classes those of the classes, which alone is read
    const float* weights = nullptr;        ///< (N, stride): the weight of each label
    std::int64_t stride = 0;
    const float* step = nullptr;   ///< steps done before this one, of losses with a warm-up; null: after all warm-ups
    std::int64_t label_bound = 0;  ///< stride is never more, from when the loss is added on; 0: than voxels can hold
};

/// The loss of logits (N, 1, D, H, W), one f64, to be given to CompileOptions::minimise. What `targets` holds is read
/// at each run. terms: memory of the device that receives at each run what each term adds to the loss, in its order;
/// null: not wanted. Throws std::invalid_argument on logits of several channels.
Tensor loss(Tensor logit, const Loss& loss, std::shared_ptr<const LossTargets> targets, double* terms = nullptr);
/// The same of several classes or regions, of logits (N, K, D, H, W). terms: those of each channel (class_term_places).
Tensor loss(Tensor logit, const Loss& loss, const ClassLossOptions& classes, std::shared_ptr<const LossTargets> targets,
            double* terms = nullptr);

}  // namespace iwseg
