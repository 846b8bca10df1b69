#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// The mean of w a miss^gamma times the cross-entropy; a: alpha of lesion, 1 - alpha of the rest. kSquare: gamma is 2;
/// a loop over voxels then has no exponential of its own.
template <bool kSquare>
struct Focal {
    static constexpr int kSums = 1, kCoefficients = 1;
    static constexpr bool kOfBatch = true, kWeightable = true;
    float alpha = 0.75f, gamma = 2.0f;

    IWSEG_INLINE float power(const Voxel& v, const Sigmoid& s) const {
        if constexpr (kSquare) return v.miss(s) * v.miss(s);
        const float log_sigmoid = -softplus(v.t > 0 ? v.z : -v.z, s);
        return exp_nonpositive(gamma * (log_sigmoid < -1e4f ? -1e4f : log_sigmoid));  // 0 * infinity is no power
    }
    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        const float error = softplus((1.0f - 2.0f * v.t) * v.z, s);
        sums[0] = v.w * (v.t > 0 ? alpha : 1.0f - alpha) * power(v, s) * error;
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        c[0] = 1 / group.voxels;
        return c[0] * sums[0];
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        const float balance = v.t > 0 ? alpha : 1.0f - alpha, right = v.t > 0 ? s.p : s.q;
        const float error = softplus(v.t > 0 ? -v.z : v.z, s);
        // Above 104 `right` is 0, and infinity times it would not be.
        const float derivative = (kSquare ? 2.0f : gamma) * right * (error > 128.0f ? 128.0f : error) + v.miss(s);
        return c[0] * v.w * v.sign() * balance * power(v, s) * derivative;
    }
    bool operator==(const Focal&) const = default;
};

}  // namespace iwseg::formulas
