#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// The asymmetric unified focal loss (Yeung et al., Computerized Medical Imaging and Graphics 2022), as MONAI's
/// AsymmetricUnifiedFocalLoss has it for background and lesion, q and p: the mean over patches and the two classes of
///     share x cross-entropy, of lesion times delta, of background times (1 - delta) p^gamma, a mean over voxels
///     + (1 - share) x 1 - Tversky's index with delta for what is missed, of lesion to the power of 1 - gamma.
/// Without MONAI's limits of p to 1e-7 and 1 - 1e-7. Sums: tp, tq, (1 - t)p, both
/// cross-entropies; that of (1 - t)q is what is left of the voxels.
struct UnifiedFocal {
    static constexpr int kSums = 5, kCoefficients = 4;
    static constexpr bool kOfBatch = false, kWeightable = false;
    static constexpr double kSmooth = 1e-7;
    static constexpr bool kManyRegisters = true;  ///< value() holds more than others at once
    float share = 0.5f, delta = 0.6f, gamma = 0.5f;

    IWSEG_INLINE float power(const Voxel& v, const Sigmoid& s) const {
        const float log_p = -softplus(-v.z, s);
        return exp_nonpositive(gamma * (log_p < -1e4f ? -1e4f : log_p));  // 0 * infinity is no power
    }
    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        sums[0] = v.t > 0 ? v.w * s.p : 0.0f;
        sums[1] = v.t > 0 ? v.w * s.q : 0.0f;
        sums[2] = v.t > 0 ? 0.0f : v.w * s.p;
        sums[3] = v.t > 0 ? v.w * softplus(-v.z, s) : 0.0f;
        sums[4] = v.t > 0 ? 0.0f : v.w * power(v, s) * softplus(v.z, s);
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        const double d = delta, rest = group.voxels - sums[0] - sums[1] - sums[2];
        const double false_rest = d * sums[2] + (1 - d) * sums[1], size_rest = rest + false_rest + kSmooth;
        const double per_rest = (rest + kSmooth) / (size_rest * size_rest);
        double overlap = false_rest / size_rest;
        // Of tp less that of tq, and of (1 - t)p less that of (1 - t)q: p and q move against each other.
        c[0] = -(1 - d) * per_rest;
        c[2] = d * per_rest + overlap / size_rest;
        const double missed = d * sums[1] + (1 - d) * sums[2], size = sums[0] + missed + kSmooth;
        const double error = missed / size, held = error < kSmooth ? kSmooth : error;
        const double power = std::pow(held, -double{gamma}),
                     derivative = error < kSmooth ? 0 : (1 - double{gamma}) * power;
        const double per_hit = (sums[0] + kSmooth) / (size * size);
        c[0] += derivative * (-error / size - d * per_hit);
        c[2] += derivative * (1 - d) * per_hit;
        overlap += power * held;
        const double overlaps = 0.5 * group.share * (1 - double{share});
        const double entropies = 0.5 * group.share * share / group.voxels;
        c[0] *= overlaps;
        c[1] = entropies * d;
        c[2] *= overlaps;
        c[3] = entropies * (1 - d);
        return overlaps * overlap + entropies * (d * sums[3] + (1 - d) * sums[4]);
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        const float error = softplus(v.z, s);
        // Above 104 q is 0, and infinity times it would not be.
        const float of_rest = c[3] * power(v, s) * (gamma * s.q * (error > 128.0f ? 128.0f : error) + s.p);
        const float of_lesion = -c[1] * s.q;
        return v.w * (s.p * s.q * (v.t > 0 ? c[0] : c[2]) + (v.t > 0 ? of_lesion : of_rest));
    }
    bool operator==(const UnifiedFocal&) const = default;
};

}  // namespace iwseg::formulas
