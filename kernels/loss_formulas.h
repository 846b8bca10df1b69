#pragma once

#include <cfloat>
#include <cstdint>
#include <stdexcept>
#include <type_traits>

#include "kernels/exp_log.h"
#include "kernels/loss.h"

// The losses' formulas, which every backend shares. Each loss is a function of a few sums over voxels, so that its
// gradient is a short expression in the voxel's own p, t and w with coefficients made of those sums. Numerators are summed
// as errors, (p - t)^2, not as 1 minus an agreement: small losses keep their digits.
//
// Written with p = sigmoid(z), q = 1 - p; s is the logit towards the wrong answer (-z where t = 1, else z).
//
//                    sums                                     gradient by z
// bce                w softplus(s)                            w sigmoid(s) (+-1) c0
// wce                p | softplus(s) where t, where not t     -c0 q where t, c1 p where not t, + c2 p q
// overlap            w p t | w (b t + p^2) | their error      w p q (c0 t + c1 p)
// generalised_dice   t | p^2 | q^2 | (p - t)^2                p q (c0 t + c1 (1 - t) + c2 p + c3 q)
// focal              w a sigmoid(s)^gamma softplus(s)         its derivative, c0
namespace iwseg {

constexpr int kLossSums = 4, kLossCoefficients = 4;

/// How many sums a formula has.
constexpr int sums_of(LossFormula formula) {
    switch (formula) {
        case LossFormula::bce:
        case LossFormula::focal: return 1;
        case LossFormula::wce:
        case LossFormula::overlap: return 3;
        case LossFormula::generalised_dice: return 4;
    }
    return kLossSums;
}

/// One voxel: logit, target (0 or 1), weight.
struct LossVoxel {
    float z, t, w;
};

/// sigmoid(s)^gamma. The caller says when gamma is 2: a loop over voxels then has no exponential of its own.
template <bool kSquare>
IWSEG_INLINE float focal_power(const LossVoxel& v, const Sigmoid& s, float gamma) {
    if constexpr (kSquare) {
        const float miss = v.t > 0 ? s.q : s.p;
        return miss * miss;
    } else {
        const float log_sigmoid = -softplus(v.t > 0 ? v.z : -v.z, s);
        return exp_nonpositive(gamma * (log_sigmoid < -1e4f ? -1e4f : log_sigmoid));  // 0 * infinity is no power
    }
}

/// What a voxel adds to each sum. power: focal_power, for focal only.
template <LossFormula kFormula>
IWSEG_INLINE void loss_terms(const LossVoxel& v, const LossParameters& parameters, float power,
                             float (&terms)[sums_of(kFormula)]) {
    const Sigmoid s = sigmoid(v.z);
    [[maybe_unused]] const float error = softplus((1.0f - 2.0f * v.t) * v.z, s), miss = v.t > 0 ? s.q : s.p;
    if constexpr (kFormula == LossFormula::bce) {
        terms[0] = v.w * error;
    } else if constexpr (kFormula == LossFormula::wce) {
        terms[0] = v.w * s.p;
        terms[1] = v.t > 0 ? v.w * error : 0.0f;
        terms[2] = v.t > 0 ? 0.0f : v.w * error;
    } else if constexpr (kFormula == LossFormula::overlap) {
        terms[0] = v.w * s.p * v.t;
        terms[1] = v.w * (parameters.beta2 * v.t + s.p * s.p);
        terms[2] = v.w * miss * (v.t > 0 ? parameters.beta2 - s.p : s.p);
    } else if constexpr (kFormula == LossFormula::generalised_dice) {
        terms[0] = v.w * v.t;
        terms[1] = v.w * s.p * s.p;
        terms[2] = v.w * s.q * s.q;
        terms[3] = v.w * miss * miss;
    } else {
        terms[0] = v.w * (v.t > 0 ? parameters.alpha : 1.0f - parameters.alpha) * power * error;
    }
}

/// d loss / d logit of a voxel, from the coefficients c that loss_of_sums gave.
template <LossFormula kFormula>
IWSEG_INLINE float loss_slope(const LossVoxel& v, const LossParameters& parameters, float power, const float* c) {
    const Sigmoid s = sigmoid(v.z);
    [[maybe_unused]] const float miss = v.t > 0 ? s.q : s.p, sign = v.t > 0 ? -1.0f : 1.0f;
    if constexpr (kFormula == LossFormula::bce) {
        return c[0] * v.w * sign * miss;
    } else if constexpr (kFormula == LossFormula::wce) {
        return (1.0f - v.t) * c[1] * s.p - v.t * c[0] * s.q + c[2] * s.p * s.q;
    } else if constexpr (kFormula == LossFormula::overlap) {
        return v.w * s.p * s.q * (c[0] * v.t + c[1] * s.p);
    } else if constexpr (kFormula == LossFormula::generalised_dice) {
        return s.p * s.q * (v.t * c[0] + (1.0f - v.t) * c[1] + c[2] * s.p + c[3] * s.q);
    } else {
        const float balance = v.t > 0 ? parameters.alpha : 1.0f - parameters.alpha;
        const float error = softplus(v.t > 0 ? -v.z : v.z, s), right = v.t > 0 ? s.p : s.q;
        // Above 104 `right` is 0, and infinity times it would not be.
        const float slope = parameters.gamma * right * (error > 128.0f ? 128.0f : error) + miss;
        return c[0] * v.w * sign * balance * power * slope;
    }
}

/// The loss of one sample, or of the whole batch, from its sums, and the gradient's coefficients, which start as 0.
/// mean: 1 / samples, or 1 / voxels for the losses that are a mean over voxels.
template <LossFormula kFormula>
IWSEG_HOST_DEVICE inline double loss_of_sums(const LossParameters& parameters, const double* sums, double voxels,
                                             double mean, double* c) {
    if constexpr (kFormula == LossFormula::bce || kFormula == LossFormula::focal) {
        c[0] = mean;
        return mean * sums[0];
    } else if constexpr (kFormula == LossFormula::wce) {
        if (sums[0] == 0) return 0;
        const double positive_weight = (voxels - sums[0]) / sums[0];
        c[0] = mean * positive_weight;
        c[1] = mean;
        c[2] = -mean * sums[1] * voxels / (sums[0] * sums[0]);
        return mean * (positive_weight * sums[1] + sums[2]);
    } else if constexpr (kFormula == LossFormula::overlap) {
        if (sums[1] == 0) return 0;
        const double scale = mean * (1 + parameters.beta2) / sums[1];
        c[0] = -scale;
        c[1] = 2 * scale * sums[0] / sums[1];
        return mean * sums[2] / sums[1];
    } else {
        const double lesion = sums[0], rest = voxels - lesion;
        const double v1 = 1 / (1 + lesion * lesion), v0 = 1 / (1 + rest * rest);
        const double size = v1 * (sums[1] + lesion) + v0 * (sums[2] + rest), error = (v1 + v0) * sums[3];
        if (size == 0) return 0;
        const double scale = 2 * mean / size, agreement = (size - error) / size;
        c[0] = -scale * v1;
        c[1] = scale * v0;
        c[2] = scale * v1 * agreement;
        c[3] = -scale * v0 * agreement;
        return mean * error / size;
    }
}

/// A coefficient as f32, held finite: the empty target of a sure network may have 1 / (nearly 0) here, to be multiplied
/// by 0. A NaN stays one.
IWSEG_HOST_DEVICE inline float loss_coefficient(double c) {
    return static_cast<float>(c > FLT_MAX ? FLT_MAX : c < -FLT_MAX ? -FLT_MAX : c);
}

/// Which voxels share a denominator: those of the whole batch, or of each sample.
struct LossGroups {
    std::int64_t groups, members;  ///< members: samples of a group
    double voxels, mean;           ///< voxels of a group
};

inline LossGroups groups_of(LossFormula formula, const Shape& shape) {
    const bool whole = formula == LossFormula::bce || formula == LossFormula::wce || formula == LossFormula::focal;
    const std::int64_t groups = whole ? 1 : shape.n, members = whole ? shape.n : 1;
    const auto voxels = static_cast<double>(members * shape.voxels());
    return {groups, members, voxels, whole ? 1 / voxels : 1 / static_cast<double>(shape.n)};
}

// ----------------------------------------------------------------------------------------------------------------------

/// Calls body(std::integral_constant<LossFormula, ...>{}).
template <class Body>
void with_formula(LossFormula formula, Body&& body) {
    using enum LossFormula;
    switch (formula) {
        case bce: return body(std::integral_constant<LossFormula, bce>{});
        case wce: return body(std::integral_constant<LossFormula, wce>{});
        case overlap: return body(std::integral_constant<LossFormula, overlap>{});
        case generalised_dice: return body(std::integral_constant<LossFormula, generalised_dice>{});
        case focal: return body(std::integral_constant<LossFormula, focal>{});
    }
    throw std::invalid_argument("loss: unknown formula");
}

inline void require_loss_input(const LossParameters& parameters, const LossInput& input) {
    const View& logit = input.logit;
    if (logit.shape.c != 1 || block_of(logit.layout, 1) != 1 || !input.target)
        throw std::invalid_argument("loss: expected logits of one channel, ncdhw, and a target");
    if (input.labels && (!input.weights || input.stride < 1))
        throw std::invalid_argument("loss: labels are given without the weights to look up");
    const LossFormula formula = parameters.formula;
    if (input.labels && (formula == LossFormula::wce || formula == LossFormula::generalised_dice))
        throw std::invalid_argument("loss: weighted cross-entropy and generalised Dice take no inverse weights");
}

}  // namespace iwseg
