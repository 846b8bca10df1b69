#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// 1 - (2 sum wpt + s) / (sum w(p + t) + s) over the batch, s = 1e-5: soft Dice as nnU-Net (batch_dice, its plan where
/// a patch is less than a scan) and MONAI (batch = true, squared_pred = false) have it. p, not p^2: the gradient of a
/// faint false alarm does not vanish with it. The batch, not the sample: a patch without lesion then counts its false
/// alarms in the same denominator, where alone it would give 1, and nothing to learn. Sums: wpt, and the error w(p(1 -
/// t) + (1 - p)t).
struct SoftDice {
    static constexpr int kSums = 2, kCoefficients = 2;
    static constexpr bool kOfBatch = true, kWeightable = true;
    static constexpr double kSmooth = 1e-5;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        sums[0] = v.t > 0 ? v.w * s.p : 0.0f;
        sums[1] = v.w * v.miss(s);
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group&, double* c) const {
        const double size = 2 * sums[0] + sums[1] + kSmooth;
        c[0] = -(2 * sums[0] + 2 * sums[1] + kSmooth) / (size * size);
        c[1] = (2 * sums[0] + kSmooth) / (size * size);
        return sums[1] / size;
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        // No choice between the two: with one, a loop over voxels is no vector code.
        return v.w * s.p * s.q * (v.t * c[0] + (1.0f - v.t) * c[1]);
    }
    bool operator==(const SoftDice&) const = default;
};

}  // namespace iwseg::formulas
