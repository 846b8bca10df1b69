#pragma once

#include <array>
#include <cstdint>

namespace iwseg {

/// Voxels along D, H and W, which are a file's axes i, j and k.
using Extent = std::array<std::int64_t, 3>;

}  // namespace iwseg
