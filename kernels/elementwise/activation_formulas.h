#pragma once

#include <stdexcept>

#include "kernels/loss/exp_log.h"

// Functions of one element and their derivatives, which every backend shares, one struct each.
//
//   kOfResult        the gradient is found from the result, and the operand need not be kept
//   kKeepsZero       0 stays 0, and so does what fills a block of channels
//   value(x)         the function
//   derivative(v)    the function's, by the result where kOfResult, else by x
//
// What is not finite comes out as PyTorch's functions have it.
namespace iwseg {

/// Which function.
struct Activation {
    enum class Kind : unsigned char { relu, leaky_relu, sigmoid, gelu, elu } kind = Kind::relu;
    float slope = 0;  ///< of leaky_relu below 0; of elu where x nears 0 from below: PyTorch's alpha

    bool operator==(const Activation&) const = default;
};

namespace activations {

/// max(x, 0); at 0 the derivative is 0.
struct Relu {
    static constexpr bool kOfResult = true, kKeepsZero = true;

    IWSEG_INLINE float value(float x) const { return x > 0 || x != x ? x : 0.0f; }
    IWSEG_INLINE float derivative(float y) const { return y > 0 ? 1.0f : 0.0f; }
};

/// x above 0, else slope * x, with 0 <= slope < 1, so that the result has x's sign; at 0 the derivative is the slope.
struct LeakyRelu {
    static constexpr bool kOfResult = true, kKeepsZero = true;
    float slope;

    IWSEG_INLINE float value(float x) const { return x > 0 ? x : slope * x; }
    IWSEG_INLINE float derivative(float y) const { return y > 0 ? 1.0f : slope; }
};

/// 1 / (1 + exp(-x)); 0 below -87.3 (exp_nonpositive).
struct Logistic {
    static constexpr bool kOfResult = true, kKeepsZero = false;

    IWSEG_INLINE float value(float x) const { return sigmoid(x).p; }
    IWSEG_INLINE float derivative(float y) const { return y * (1.0f - y); }
};

/// x times the normal distribution's function, x / 2 (1 + erf(x / sqrt 2)): PyTorch's, without its approximation by
/// tanh (Hendrycks and Gimpel, arXiv 1606.08415).
struct Gelu {
    static constexpr bool kOfResult = false, kKeepsZero = true;

    /// The distribution's function, and its density times sqrt(2 pi).
    struct Normal {
        float below, density;
    };
    IWSEG_INLINE static Normal normal(float x) {
        // For u = |x| the share above u is exp(-u^2 / 2) t P(t), t = 1 / (1 + u / 4): what is beside the exponential
        // (Mills' ratio) is smooth in t from 0 to 1. P is fitted to a relative error of 4e-8.
        const float u = std::fabs(x), t = 1.0f / (1.0f + 0.25f * u), density = exp_nonpositive(-0.5f * (u * u));
        float ratio = 0.0197842219f;
        ratio = ratio * t - 0.0808865139f;
        ratio = ratio * t + 0.0956127938f;
        ratio = ratio * t - 0.0317317432f;
        ratio = ratio * t + 0.0637064736f;
        ratio = ratio * t + 0.0589729579f;
        ratio = ratio * t + 0.0816034666f;
        ratio = ratio * t + 0.0934663269f;
        ratio = ratio * t + 0.0997364325f;
        ratio = ratio * t + 0.0997355667f;
        const float above = density * t * ratio;
        return {x > 0 ? 1.0f - above : above, density};
    }

    IWSEG_INLINE float value(float x) const { return x * normal(x).below; }
    IWSEG_INLINE float derivative(float x) const {
        constexpr float kInverseRoot = 0.398942280f;  // 1 / sqrt(2 pi)
        const Normal n = normal(x);
        return n.below + x * (kInverseRoot * n.density);
    }
};

/// x above 0, else alpha (exp(x) - 1), with alpha >= 0, so that the result has x's sign; at 0 the derivative is alpha.
struct Elu {
    static constexpr bool kOfResult = true, kKeepsZero = true;
    float alpha;

    /// exp(x) - 1 for x <= 0, near 0 by its series: the difference would leave few digits there.
    IWSEG_INLINE static float exp_less_one(float x) {
        float share = 1.0f / 40320;
        share = share * x + 1.0f / 5040;
        share = share * x + 1.0f / 720;
        share = share * x + 1.0f / 120;
        share = share * x + 1.0f / 24;
        share = share * x + 1.0f / 6;
        share = share * x + 0.5f;
        share = share * x + 1.0f;
        return x > -0.5f ? x * share : exp_nonpositive(x) - 1.0f;
    }

    IWSEG_INLINE float value(float x) const { return x > 0 || x != x ? x : alpha * exp_less_one(x); }
    IWSEG_INLINE float derivative(float y) const { return y > 0 || y != y ? 1.0f : y + alpha; }
};

}  // namespace activations

/// Calls body(formula).
template <class Body>
void with_activation(const Activation& chosen, Body&& body) {
    switch (chosen.kind) {
        case Activation::Kind::relu:
            return body(activations::Relu{});
        case Activation::Kind::leaky_relu:
            return body(activations::LeakyRelu{chosen.slope});
        case Activation::Kind::sigmoid:
            return body(activations::Logistic{});
        case Activation::Kind::gelu:
            return body(activations::Gelu{});
        case Activation::Kind::elu:
            return body(activations::Elu{chosen.slope});
    }
    throw std::invalid_argument("activate: a function that is not known");
}

/// True where the backward pass reads the result, else it reads the operand.
inline bool gradient_of_result(const Activation& chosen) {
    bool of_result = false;
    with_activation(chosen, [&](auto formula) { of_result = formula.kOfResult; });
    return of_result;
}

}  // namespace iwseg
