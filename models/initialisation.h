#pragma once

#include <cstdint>

#include "engine/context.h"
#include "engine/parameters.h"

namespace iwseg {

/// Weights as PyTorch's Conv3d default (kaiming uniform, a = sqrt 5), BatchNorm scale 1, shift 0, running mean 0 and
/// variance 1; each array from (seed, its place), so that it does not depend on the others.
void initialise(Context& context, Parameters& parameters, std::uint64_t seed);

}  // namespace iwseg
