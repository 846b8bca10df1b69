#pragma once

#include "engine/graph.h"
#include "kernels/loss.h"

namespace iwseg {

/// What a loss is computed against: set before each run, in memory of the device. One output channel.
struct LossTargets {
    const std::uint8_t* target = nullptr;  ///< (N, D, H, W), 0, 1, or kIgnored: in no sum
    const std::int32_t* labels = nullptr;  ///< (N, D, H, W), or null: every weight is 1
    const float* weights = nullptr;        ///< (N, stride): the weight of each label
    std::int64_t stride = 0;
};

struct LossNodes {
    Tensor value = -1;       ///< one f64, kept after the run
    Tensor diff_logit = -1;  ///< like the logits
};

/// Adds a loss's two passes to the graph's program, after its forward steps. targets must outlive the plan.
LossNodes add_loss(Graph& graph, const LossParameters& parameters, Tensor logit, const LossTargets& targets);

}  // namespace iwseg
