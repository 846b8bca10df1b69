#pragma once

#include <vector>

#include "kernels/loss/region_loss.h"
#include "losses/loss.h"

namespace iwseg {

/// The passes that compute a term over single lesions' regions (TermKind::blobs or regions), to be added up: dice and
/// ce in one, others in one each. Of other terms there are none.
std::vector<RegionPass> region_passes(const LossTerm& term);

}  // namespace iwseg
