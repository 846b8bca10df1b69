#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/preparation.h"

namespace iwseg {

/// What is to be said before a training whose patch (voxels) is larger than scans to train on along an axis: how many,
/// and which is smallest. Empty where none is.
std::string large_patch_note(const std::vector<PreparedCase>& scans, const std::array<std::int64_t, 3>& patch);

}  // namespace iwseg
