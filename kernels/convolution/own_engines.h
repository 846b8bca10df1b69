#pragma once

#include <vector>

#include "kernels/convolution/cudnn/session.h"

// Own kernels as engines beside cuDNN's, measured and checked with them, and chosen where they are the fastest: those
// for few channels (kernels/convolution/narrow.h), and those for any kernel, stride and groups (general.cu).
namespace iwseg::cuda {

/// What the file of chosen plans and messages call it.
const char* name_of(OwnEngine engine);

/// Those that take a problem on a card.
std::vector<ChosenPlan> own_plans(const CudnnProblem& problem, const CudnnTarget& target);

/// Queues one of them. Weights are read packed and a summand where it lies; the gradient of weights is left in
/// tensors.plain_weights.
void run_own(Stream stream, const ChosenPlan& chosen, const PassTensors& tensors);

}  // namespace iwseg::cuda
