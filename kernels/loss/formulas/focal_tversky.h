#pragma once

#include "kernels/loss/formulas/tversky.h"

namespace iwseg::formulas {

/// Tversky's loss to the power of 1 / gamma, over the batch: above 1, gamma makes poor overlaps count more (Abraham and
/// Khan, ISBI 2019, whose gamma is 4/3). The derivative is infinite where nothing is wrong; it is held at that of a
/// loss of 1e-7.
struct FocalTversky {
    static constexpr int kSums = 2, kCoefficients = 2;
    static constexpr bool kOfBatch = true, kWeightable = true;
    static constexpr double kLeast = 1e-7;
    float over = 0.3f, under = 0.7f, gamma = 4.0f / 3;

    IWSEG_INLINE Tversky index() const { return {over, under}; }
    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const { index().terms(v, s, sums); }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        const double loss = index().value(sums, group, c), power = 1.0 / gamma;
        const double derivative = power * std::pow(loss < kLeast ? kLeast : loss, power - 1);
        c[0] *= derivative;
        c[1] *= derivative;
        return loss == 0 ? 0 : std::pow(loss, power);
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        return index().gradient(v, s, c);
    }
    bool operator==(const FocalTversky&) const = default;
};

}  // namespace iwseg::formulas
