#pragma once

#include "engine/tensor.h"

namespace iwseg {

/// x above 0, else alpha (exp(x) - 1), of each element (Clevert et al., Fast and accurate deep network learning by
/// exponential linear units, 2016). Throws std::invalid_argument on an alpha below 0 or not finite.
Tensor elu(Tensor x, float alpha = 1.0f);

}  // namespace iwseg
