#pragma once

#include "kernels/loss/voxel.h"

namespace iwseg::formulas {

/// 1 - (sum wpt + s) / (sum w(pt + over p(1 - t) + under (1 - p)t) + s), s = 1e-5: Tversky's index with a missed voxel
/// worth more than a false one (Salehi, Erdogmus and Gholipour, MLMI 2017, whose over and under these are); with 0.5
/// and 0.5 it is soft Dice. kBatch: sums are of the batch, else of each patch, of which the mean is taken. Sums: wpt,
/// and the weighted error.
template <bool kBatch>
struct TverskyIndex {
    static constexpr int kSums = 2, kCoefficients = 2;
    static constexpr bool kOfBatch = kBatch, kWeightable = true;
    static constexpr double kSmooth = 1e-5;
    float over = 0.3f, under = 0.7f;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        sums[0] = v.t > 0 ? v.w * s.p : 0.0f;
        sums[1] = v.w * v.miss(s) * (v.t > 0 ? under : over);
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        const double size = sums[0] + sums[1] + kSmooth;
        c[0] = group.share * (-(sums[1] + under * (sums[0] + kSmooth)) / (size * size));
        c[1] = group.share * (over * (sums[0] + kSmooth) / (size * size));
        return group.share * (sums[1] / size);
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        // No choice between the two: with one, a loop over voxels is no vector code.
        return v.w * s.p * s.q * (v.t * c[0] + (1.0f - v.t) * c[1]);
    }
    bool operator==(const TverskyIndex&) const = default;
};

using Tversky = TverskyIndex<true>;
/// What CATMIL's component-adaptive term is made of, with weights by lesion size.
using PatchTversky = TverskyIndex<false>;

}  // namespace iwseg::formulas
