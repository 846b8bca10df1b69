#pragma once

#include <cstdint>
#include <memory>

#include "engine/tensor.h"

namespace iwseg {

/// What masks are drawn from: the run's seed and the number of the step, two numbers side by side in memory of the
/// device, set before each run. The same two give the same masks on every device, so that a resumed run goes on as it
/// would have. The memory must stay where it is.
struct DropoutSource {
    const std::uint64_t* seed_and_step = nullptr;
};

/// In training, 0 in place of each element with probability `rate`, and the others times 1 / (1 - rate); else x. Each
/// layer of a graph has masks of its own, by its name; none is kept: the backward pass draws it again. Throws
/// std::invalid_argument unless 0 <= rate < 1.
Tensor dropout(Tensor x, float rate, std::shared_ptr<const DropoutSource> source);

}  // namespace iwseg
