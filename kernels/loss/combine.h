#pragma once

#include <cmath>

#include "kernels/loss/voxel.h"

// What sums of formulas are made of.
namespace iwseg::formulas {

/// A formula whose voxels all have weight 1, in a sum where others take the inverse weights.
template <class F>
struct Unweighted : F {
    IWSEG_INLINE static Voxel plain(const Voxel& v) {
        return {v.z, v.t, 1.0f - 0.5f * (std::fabs(v.t) - v.t)};  // 1, or 0 where it does not count
    }

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const { F::terms(plain(v), s, sums); }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        return F::gradient(plain(v), s, c);
    }
};

/// A formula times a number. 0: it is no term, and what it would be worth (infinity, maybe) does not matter.
template <class F>
struct Scaled : F {
    float factor = 0;

    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        if (factor == 0) return 0;
        const double value = factor * F::value(sums, group, c);
        for (int k = 0; k < F::kCoefficients; ++k) c[k] *= factor;
        return value;
    }
};

/// Two formulas added up, in the same two passes. A and B may be sums themselves.
template <class A, class B>
struct Sum {
    static_assert(A::kOfBatch == B::kOfBatch, "the sums of both are of the same voxels");
    static constexpr int kSums = A::kSums + B::kSums, kCoefficients = A::kCoefficients + B::kCoefficients;
    static constexpr bool kOfBatch = A::kOfBatch, kWeightable = A::kWeightable && B::kWeightable;
    A a;
    B b;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        a.terms(v, s, sums);
        b.terms(v, s, sums + A::kSums);
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group& group, double* c) const {
        return a.value(sums, group, c) + b.value(sums + A::kSums, group, c + A::kCoefficients);
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        return a.gradient(v, s, c) + b.gradient(v, s, c + A::kCoefficients);
    }
};

}  // namespace iwseg::formulas
