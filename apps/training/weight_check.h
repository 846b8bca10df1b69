#pragma once

#include <optional>
#include <string>

#include "engine/parameters.h"

namespace iwseg {

/// What makes the weights unusable, as in "0.0.weight holds a value that is not finite" or "0.1.bn.running_var holds a
/// negative variance"; none where every value and running statistic is finite and no running variance is negative.
/// Reads the host's memory: download() first.
std::optional<std::string> unusable_weights(Parameters& parameters);

}  // namespace iwseg
