#pragma once

#include <optional>

#include "kernels/convolution/cudnn/session.h"

// The narrow convolutions (kernels/convolution/narrow.h) as one more engine beside cuDNN's: measured and checked with
// them, and chosen where it is the fastest.
namespace iwseg::cuda {

/// What the file of chosen plans and messages call it.
constexpr const char* kNarrowEngine = "narrow";

/// The engine for a problem on a card; nothing where it does not take it.
std::optional<ChosenPlan> narrow_plan(const CudnnProblem& problem, const CudnnTarget& target);

/// Queues it. Weights are read packed and a summand where it lies; the gradient of weights is left in
/// tensors.plain_weights.
void run_narrow(Stream stream, const CudnnProblem& problem, const PassTensors& tensors);

}  // namespace iwseg::cuda
