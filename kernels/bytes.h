#pragma once

#include <cstdint>
#include <string>

namespace iwseg {

/// What parts of device memory are aligned to: CUDA's own allocations are; a cache line, and the widest vector, need 64.
constexpr std::int64_t kMemoryAlignment = 256;

/// Rounded up to a multiple of it.
constexpr std::int64_t aligned(std::int64_t bytes) {
    return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
}

/// "1.23 GB", of 10^9 bytes.
std::string gigabytes(std::int64_t bytes);

}  // namespace iwseg
