#pragma once

#include <vector>

#include "kernels/loss/loss.h"
#include "losses/loss.h"

namespace iwseg {

/// The passes that compute those terms of a loss that are sums over voxels (TermKind::voxels), to be added up: terms
/// that formulas.h lists as a sum in one pass, others in one each, and those of one warm-up together.
std::vector<LossPass> loss_passes(const Loss& loss);

}  // namespace iwseg
