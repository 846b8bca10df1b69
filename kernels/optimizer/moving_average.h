#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/optimizer/update_step.h"

/// The exponential moving average of what an update has left: average += step->average_share * (value - average).
/// Nothing changes where step->last_batch is 0. Flat f32 buffers of `count` elements; step lies in memory of the
/// device.
IWSEG_BACKENDS(void average_values(Stream stream, const UpdateStep* step, std::int64_t count, const float* value,
                                   float* average);)
