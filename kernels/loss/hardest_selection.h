#pragma once

#include <bit>
#include <cstdint>
#include <stdexcept>

#include "kernels/device/dispatch.h"
#include "kernels/loss/exp_log.h"
#include "kernels/loss/hardest_voxels.h"
#include "kernels/loss/loss_pass.h"

// What the backends' selections of the hardest voxels share.
namespace iwseg::formulas {

/// A voxel's cross-entropy as whole numbers that rise as it does: the bits of an f32 that is not negative. Not a number
/// is above all.
using HardKey = std::uint32_t;

IWSEG_INLINE HardKey hard_key(float z, bool lesion) {
    const float towards = lesion ? -z : z;
    return std::bit_cast<HardKey>(softplus(towards, sigmoid(towards))) & 0x7FFFFFFFu;
}
IWSEG_INLINE float entropy_of(HardKey key) {
    return std::bit_cast<float>(key);
}

/// Which voxels count.
struct HardestSelection {
    std::uint64_t wanted = 0;  ///< voxels; 0: nothing is known
    std::uint64_t left = 0;    ///< of them those that are as hard as the threshold
    HardKey threshold = 0;
    float above = 0, equal = 0;  ///< what the gradients of voxels above it, and of those at it, are multiplied by

    /// Among so many known voxels.
    IWSEG_HOST_DEVICE void begin(float percent, std::uint64_t known) {
        const auto some = static_cast<std::uint64_t>(static_cast<double>(known) * static_cast<double>(percent) / 100);
        wanted = known == 0 ? 0 : some == 0 ? 1 : some < known ? some : known;
        left = wanted;
        threshold = 0;
    }
    /// From the sum over voxels above the threshold, and how many lie at it.
    IWSEG_HOST_DEVICE double finish(double sum, std::uint64_t at_threshold, const HardestPass& pass,
                                    const float* step) {
        above = equal = 0;
        if (wanted == 0) return 0;
        double each = pass.factor / static_cast<double>(wanted);
        const double mean = each * (sum + static_cast<double>(left) * static_cast<double>(entropy_of(threshold)));
        const double value = share_of(warmed_up(pass.warmup, step), mean, &each, 1);
        above = static_cast<float>(each);
        equal = static_cast<float>(each * static_cast<double>(left) / static_cast<double>(at_threshold));
        return value;
    }
    IWSEG_INLINE float gradient(float z, bool lesion, HardKey key) const {
        const Sigmoid s = sigmoid(z);
        const float share = key > threshold ? above : key == threshold ? equal : 0.0f;
        return share == 0 ? 0.0f : share * (lesion ? -s.q : s.p);
    }
};

inline void require_hardest_input(const LossInput& input) {
    if (input.logit.shape.c != 1 || block_of(input.logit.layout, 1) != 1 || !input.target)
        throw std::invalid_argument("hardest_voxels: expected logits of one channel, ncdhw, and a target");
}

}  // namespace iwseg::formulas
