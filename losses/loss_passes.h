#pragma once

#include <vector>

#include "kernels/loss/loss.h"
#include "losses/loss.h"

namespace iwseg {

/// The passes that compute a loss, to be added up: terms that formulas.h lists as a sum in one pass, others in one
/// each.
std::vector<LossPass> loss_passes(const Loss& loss);

}  // namespace iwseg
