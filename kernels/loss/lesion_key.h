#pragma once

#include <bit>
#include <cstdint>

#include "kernels/loss/exp_log.h"

// The largest logit of a lesion and where it is, in one integer whose largest is sought: bits that are ordered as the
// logits, then the voxel, the first being the largest. No key is 0.
namespace iwseg::formulas {

using LesionKey = unsigned long long;  // what CUDA's atomics take

IWSEG_INLINE LesionKey lesion_key(float logit, std::int64_t voxel) {
    const auto bits = std::bit_cast<std::uint32_t>(logit);
    const std::uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
    return LesionKey{logit != logit ? 0xFFFFFFFFu : ordered} << 32 | (0xFFFFFFFFu - static_cast<std::uint32_t>(voxel));
}
IWSEG_INLINE float logit_of(LesionKey key) {
    const auto ordered = static_cast<std::uint32_t>(key >> 32);
    return std::bit_cast<float>(ordered >> 31 ? ordered & 0x7FFFFFFFu : ~ordered);
}
IWSEG_INLINE std::int64_t voxel_of(LesionKey key) {
    return 0xFFFFFFFFu - static_cast<std::uint32_t>(key);
}

}  // namespace iwseg::formulas
