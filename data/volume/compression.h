#pragma once

namespace iwseg {

/// libdeflate's level for volumes that are written packed: probabilities shrink little more at higher levels, and those
/// take ten times as long.
inline constexpr int kCompression = 2;

}  // namespace iwseg
