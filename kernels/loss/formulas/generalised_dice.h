#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// Overlap of lesion and of background, each weighted by 1 / (1 + its size squared). The sums are of t, p^2, q^2 and
/// (p - t)^2.
struct GeneralisedDice {
    static constexpr int kSums = 4, kCoefficients = 4;
    static constexpr bool kOfBatch = false, kWeightable = false;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        const float miss = v.miss(s);
        sums[0] = v.w * v.t;
        sums[1] = v.w * s.p * s.p;
        sums[2] = v.w * s.q * s.q;
        sums[3] = v.w * miss * miss;
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        const double lesion = sums[0], rest = group.voxels - lesion;
        const double v1 = 1 / (1 + lesion * lesion), v0 = 1 / (1 + rest * rest);
        const double size = v1 * (sums[1] + lesion) + v0 * (sums[2] + rest), error = (v1 + v0) * sums[3];
        if (size == 0) return 0;
        const double scale = 2 * group.share / size, agreement = (size - error) / size;
        c[0] = -scale * v1;
        c[1] = scale * v0;
        c[2] = scale * v1 * agreement;
        c[3] = -scale * v0 * agreement;
        return group.share * error / size;
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        return v.w * (s.p * s.q * (v.t * c[0] + (1.0f - v.t) * c[1] + c[2] * s.p + c[3] * s.q));
    }
    bool operator==(const GeneralisedDice&) const = default;
};

}  // namespace iwseg::formulas
