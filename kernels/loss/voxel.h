#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/loss/exp_log.h"

// What a loss's formula is written with. Each is a struct in formulas/ that every backend makes its passes of: a
// function of a few sums over voxels, so that its gradient is a short expression in the voxel's own p, t and w with
// coefficients made of those sums. Numerators are summed as errors, (p - t)^2, not as 1 minus an agreement: small
// losses keep their digits.
//
//   kSums, kCoefficients     how many
//   kOfBatch                 sums are of the whole batch, else of each sample
//   kWeightable              inverse weights mean something in it: the loss has an iw form
//   terms(v, s, sums)        sets what a voxel adds to each sum
//   value(sums, group, c)    the loss of a group from its sums; sets the gradient's coefficients, which start as 0
//   gradient(v, s, c)        d loss / d logit of a voxel
//   ==                       of its options
//
// Here p = sigmoid(z) and q = 1 - p.
namespace iwseg::formulas {

/// One voxel: logit, target, weight. A voxel that does not count has target -1, logit 0 and weight 0.
struct Voxel {
    float z, t, w;

    IWSEG_INLINE float sign() const { return t > 0 ? -1.0f : 1.0f; }
    IWSEG_INLINE float miss(const Sigmoid& s) const { return t > 0 ? s.q : s.p; }  ///< what the wrong answer is given
};

constexpr Voxel kUncounted{0.0f, -1.0f, 0.0f};

struct Group {
    double voxels;  ///< of the group, those that count
    double share;   ///< 1 / groups
};

/// A coefficient as f32, held finite: the empty target of a sure network may have 1 / (nearly 0) here, to be multiplied
/// by 0. A NaN stays one.
IWSEG_HOST_DEVICE inline float as_coefficient(double c) {
    return static_cast<float>(c > FLT_MAX ? FLT_MAX : c < -FLT_MAX ? -FLT_MAX : c);
}

/// The loss of a group of `voxels` of which `ignored` do not count.
template <class F>
IWSEG_HOST_DEVICE double value_of_group(const F& formula, const double* sums, double voxels, double ignored,
                                        double share, double* c) {
    const Group group{voxels - ignored, share};
    return group.voxels == 0 ? 0.0 : formula.value(sums, group, c);
}

}  // namespace iwseg::formulas
