#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"

/// Prefix sums, by a library where there is one for the device: elements[i] becomes the sum of those before it, modulo
/// 2^32.
namespace iwseg::IWSEG_BACKEND {

std::int64_t prefix_sum_scratch_bytes(std::int64_t count);
void prefix_sum(Stream stream, std::uint32_t* elements, std::int64_t count, void* scratch);

}  // namespace iwseg::IWSEG_BACKEND
