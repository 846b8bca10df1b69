#pragma once

#include <cstdint>
#include <string>

namespace iwseg {

/// What parts of device memory are aligned to: CUDA's own allocations are.
constexpr std::int64_t kMemoryAlignment = 256;

/// A cache line, and the widest vector, of CPUs.
constexpr std::int64_t kCacheLine = 64;

/// Rounded up to a multiple of `to`.
constexpr std::int64_t aligned(std::int64_t bytes, std::int64_t to = kMemoryAlignment) {
    return (bytes + to - 1) / to * to;
}

/// "1.23 GB", of 10^9 bytes.
std::string gigabytes(std::int64_t bytes);

}  // namespace iwseg
