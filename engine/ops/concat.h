#pragma once

#include <vector>

#include "engine/tensor.h"

namespace iwseg {

/// The channels of all parts, one after the other: (N, C1 + C2 + …, D, H, W). Throws std::invalid_argument where there
/// is no part, and on parts that differ in more than their channels.
Tensor concat(const std::vector<Tensor>& parts);
Tensor concat(Tensor a, Tensor b);

}  // namespace iwseg
