#pragma once

#include <cstdint>

namespace iwseg {

/// What differs from one update of parameters to the next: kernels read it from memory of the device, so that recorded
/// work may be given another each time.
struct UpdateStep {
    float rate = 0;                                ///< the learning rate
    float mean_factor = 1, deviation_factor = 1;   ///< AdamW's 1 / (1 - beta1^t) and 1 / sqrt(1 - beta2^t)
    float average_share = 1;                       ///< of the values in their moving average
    float step = 0;                                ///< steps done before it, for what changes as training goes on
    std::int32_t first_batch = 1, last_batch = 1;  ///< whether this batch is the first, the last, of those of a step
};

}  // namespace iwseg
