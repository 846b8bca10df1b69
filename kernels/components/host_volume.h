#pragma once

#include <cstddef>
#include <cstdint>

#include "base/extent.h"

// What functions refuse that are given memory of the caller's process, before they look at it.
namespace iwseg {

/// The number of voxels, 0 where a side is. Throws std::invalid_argument, naming the function, on sides below 0 and on
/// more voxels than kMostVoxels.
std::int64_t voxels_of_host(const Extent& shape, const char* function);

/// Throws std::invalid_argument, naming the function and what it is ("a mask"), on another size than that of the shape.
void require_host_size(std::size_t size, std::int64_t voxels, const char* what, const char* function);

}  // namespace iwseg
