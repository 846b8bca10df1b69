#pragma once

#include <cstdint>

namespace iwseg {

/// libdeflate's level for volumes that are written packed: probabilities shrink little more at higher levels, and those
/// take ten times as long.
inline constexpr int kCompression = 2;

/// The most that deflate can shrink: what holds fewer bytes than this part of what its header promises is refused
/// before memory is taken for it.
inline constexpr std::int64_t kMostInflation = 1032;

}  // namespace iwseg
