#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// Cross-entropy: the mean of w softplus(z towards the wrong answer).
struct CrossEntropy {
    static constexpr int kSums = 1, kCoefficients = 1;
    static constexpr bool kOfBatch = true, kWeightable = true;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        sums[0] = v.w * softplus((1.0f - 2.0f * v.t) * v.z, s);
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        c[0] = 1 / group.voxels;
        return c[0] * sums[0];
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        return c[0] * v.w * v.sign() * v.miss(s);
    }
    bool operator==(const CrossEntropy&) const = default;
};

}  // namespace iwseg::formulas
