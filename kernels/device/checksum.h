#pragma once

#include <cstdint>

#include "kernels/device/declare.h"

IWSEG_BACKENDS(
    /// *sum += a number that says what lies in `bytes` bytes of memory, an even number, and where: equal memory gives
    /// equal sums, and memory that differs anywhere another one, but for a chance of 2^-64. sum: of the device's
    /// memory.
    void add_checksum(Stream stream, const void* memory, std::int64_t bytes, std::uint64_t* sum);)
