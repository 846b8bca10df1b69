#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// 1 - (1 + beta2) sum wpt / sum w(beta2 t + p^2): Dice without smoothing for 1, the asymmetric similarity loss for
/// beta squared. Where a sample has no lesion the first sum is 0 and with it the gradient.
struct Overlap {
    static constexpr int kSums = 3, kCoefficients = 2;
    static constexpr bool kOfBatch = false, kWeightable = true;
    float beta2 = 1;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        sums[0] = v.w * s.p * v.t;
        sums[1] = v.w * (s.p * s.p + beta2 * v.t);
        sums[2] = v.w * v.miss(s) * (v.t > 0 ? beta2 - s.p : s.p);
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        if (sums[1] == 0) return 0;
        const double scale = group.share * (1 + beta2) / sums[1];
        c[0] = -scale;
        c[1] = 2 * scale * sums[0] / sums[1];
        return group.share * sums[2] / sums[1];
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        return v.w * s.p * s.q * (c[0] * v.t + c[1] * s.p);
    }
    bool operator==(const Overlap&) const = default;
};

}  // namespace iwseg::formulas
