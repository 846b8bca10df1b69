#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// Cross-entropy with positive weight (N - sum p) / sum p; the gradient flows through that weight.
struct BalancedCrossEntropy {
    static constexpr int kSums = 3, kCoefficients = 3;
    static constexpr bool kOfBatch = true, kWeightable = false;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        const float error = softplus((1.0f - 2.0f * v.t) * v.z, s);
        sums[0] = v.w * s.p;
        sums[1] = v.t > 0 ? v.w * error : 0.0f;
        sums[2] = v.t > 0 ? 0.0f : v.w * error;
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        if (sums[0] == 0) return 0;
        const double mean = 1 / group.voxels, positive_weight = (group.voxels - sums[0]) / sums[0];
        c[0] = mean * positive_weight;
        c[1] = mean;
        c[2] = -mean * sums[1] * group.voxels / (sums[0] * sums[0]);
        return mean * (positive_weight * sums[1] + sums[2]);
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        return v.w * ((1.0f - v.t) * c[1] * s.p - v.t * c[0] * s.q + c[2] * s.p * s.q);
    }
    bool operator==(const BalancedCrossEntropy&) const = default;
};

}  // namespace iwseg::formulas
