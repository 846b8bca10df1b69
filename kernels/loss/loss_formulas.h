#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "kernels/device/backend.h"
#include "kernels/loss/exp_log.h"

// The losses' formulas, which every backend shares, one struct each. A loss is a function of a few sums over voxels, so
// that its gradient is a short expression in the voxel's own p, t and w with coefficients made of those sums.
// Numerators are summed as errors, (p - t)^2, not as 1 minus an agreement: small losses keep their digits.
//
//   kSums, kCoefficients     how many
//   kOfBatch                 sums are of the whole batch, else of each sample
//   terms(v, s, sums)        sets what a voxel adds to each sum
//   value(sums, group, c)    the loss of a group from its sums; sets the gradient's coefficients, which start as 0
//   gradient(v, s, c)        d loss / d logit of a voxel
//
// Here p = sigmoid(z) and q = 1 - p.
namespace iwseg::loss {

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

/// Cross-entropy: the mean of w softplus(z towards the wrong answer).
struct CrossEntropy {
    static constexpr int kSums = 1, kCoefficients = 1;
    static constexpr bool kOfBatch = true;

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
};

/// Cross-entropy with positive weight (N - sum p) / sum p; the gradient flows through that weight.
struct BalancedCrossEntropy {
    static constexpr int kSums = 3, kCoefficients = 3;
    static constexpr bool kOfBatch = true;

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
};

/// 1 - (1 + beta2) sum wpt / sum w(beta2 t + p^2): Dice without smoothing for 1, the asymmetric similarity loss for
/// beta squared. Where a sample has no lesion the first sum is 0 and with it the gradient.
struct Overlap {
    static constexpr int kSums = 3, kCoefficients = 2;
    static constexpr bool kOfBatch = false;
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
};

/// Overlap of lesion and of background, each weighted by 1 / (1 + its size squared). The sums are of t, p^2, q^2 and
/// (p - t)^2.
struct GeneralisedDice {
    static constexpr int kSums = 4, kCoefficients = 4;
    static constexpr bool kOfBatch = false;

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
};

/// The mean of w a miss^gamma times the cross-entropy; a: alpha of lesion, 1 - alpha of the rest. kSquare: gamma is 2;
/// a loop over voxels then has no exponential of its own.
template <bool kSquare>
struct Focal {
    static constexpr int kSums = 1, kCoefficients = 1;
    static constexpr bool kOfBatch = true;
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
};

// ----------------------------------------------------------------------------------------------------------------------
// Base terms of sums, and what sums are made of.

/// 1 - (2 sum wpt + s) / (sum w(p + t) + s) over the batch, s = 1e-5: soft Dice as nnU-Net (batch_dice, its plan where
/// a patch is less than a scan) and MONAI (batch = true, squared_pred = false) have it. p, not p^2: the gradient of a
/// faint false alarm does not vanish with it. The batch, not the sample: a patch without lesion then counts its false
/// alarms in the same denominator, where alone it would give 1, and nothing to learn. Sums: wpt, and the error w(p(1 -
/// t) + (1 - p)t).
struct SoftDice {
    static constexpr int kSums = 2, kCoefficients = 2;
    static constexpr bool kOfBatch = true;
    static constexpr double kSmooth = 1e-5;

    IWSEG_INLINE void terms(const Voxel& v, const Sigmoid& s, float* sums) const {
        sums[0] = v.t > 0 ? v.w * s.p : 0.0f;
        sums[1] = v.w * v.miss(s);
    }
    IWSEG_HOST_DEVICE double value(const double* sums, const Group&, double* c) const {
        const double size = 2 * sums[0] + sums[1] + kSmooth;
        c[0] = -(2 * sums[0] + 2 * sums[1] + kSmooth) / (size * size);
        c[1] = (2 * sums[0] + kSmooth) / (size * size);
        return sums[1] / size;
    }
    IWSEG_INLINE float gradient(const Voxel& v, const Sigmoid& s, const float* c) const {
        // No choice between the two: with one, a loop over voxels is no vector code.
        return v.w * s.p * s.q * (v.t * c[0] + (1.0f - v.t) * c[1]);
    }
};

/// A formula whose voxels all weigh 1, in a sum where others take the inverse weights.
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
    float factor = 1;

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
    static constexpr bool kOfBatch = A::kOfBatch;
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

}  // namespace iwseg::loss
