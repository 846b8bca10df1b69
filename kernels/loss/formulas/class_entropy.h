#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// What one class adds to the cross-entropy of a softmax over several: the mean over all voxels of -log p where the
/// class is the right one. Summed over the classes, background among them, it is that cross-entropy.
struct ClassEntropy {
    static constexpr int kSums = 1, kCoefficients = 1;
    static constexpr bool kOfBatch = true, kWeightable = false;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        sums[0] = v.t > 0 ? v.w * softplus(-v.z, s) : 0.0f;
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        c[0] = 1 / group.voxels;
        return c[0] * sums[0];
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        return v.t > 0 ? -c[0] * v.w * s.q : 0.0f;
    }
    bool operator==(const ClassEntropy&) const = default;
};

}  // namespace iwseg::formulas
