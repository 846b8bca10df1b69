#pragma once

#include <cstdint>

#include "engine/context.h"
#include "engine/parameters.h"

namespace iwseg {

/// Sets every parameter to what it is declared to begin as (engine/parameter_spec.h), momentum and the count of batches
/// to 0. Each array's random numbers come from (seed, its number), so that it does not depend on the others.
void initialise(const Context& context, Parameters& parameters, std::uint64_t seed);

}  // namespace iwseg
