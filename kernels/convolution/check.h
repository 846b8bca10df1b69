#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/convolution/geometry.h"
#include "kernels/device/declare.h"
#include "kernels/device/view.h"

// Whether a convolution computes what it should, at its full size: libraries have been wrong on large volumes only. Its
// operands are noise that any place can be asked for, so that some of the results are computed again, in double
// precision, without holding the operands.
namespace iwseg {

/// A multiple of 1/128 in [-1, 1), which bf16 holds: what stands at a place of an operand.
IWSEG_HOST_DEVICE inline float noise_at(std::uint32_t operand, std::int64_t place) {
    auto bits = static_cast<std::uint64_t>(place) * 0x9E3779B97F4A7C15u + operand * 0xD1B54A32D192ED03u;
    bits = (bits ^ bits >> 32) * 0xE9846AF9B1A615Du;
    bits = (bits ^ bits >> 32) * 0xE9846AF9B1A615Du;
    return static_cast<float>(static_cast<int>(bits >> 56) - 128) / 128.0f;
}

/// Numbers of the operands of noise.
enum NoiseOperand : std::uint32_t { kNoiseSrc, kNoiseWeights, kNoiseDst, kNoiseBias };

/// A convolution of noise with channels innermost, weights (O, kernel, C / groups); dst and its gradient are the same
/// noise.
struct NoiseConvolution {
    ConvolutionGeometry joins;
    bool bias = false, accumulate = false;
    bool normalised = false;  ///< src is normalised_noise of the noise
};

/// What noise is normalised by, so that it stays in what bf16 holds: half of it is cut off by ReLU.
constexpr float kNoiseMean = 0.25f, kNoiseInverseDeviation = 2.0f, kNoiseScale = 0.25f, kNoiseShift = 0.25f;
inline float normalised_noise(float noise) {
    const float normal = (noise - kNoiseMean) * kNoiseInverseDeviation * kNoiseScale + kNoiseShift;
    return normal < 0 ? 0 : normal;
}

/// A place in a result, in its layout, and what should be there.
struct ExpectedNumber {
    std::int64_t place;
    double value;
};

/// Some places, the first and last among them, of dst, of the gradient of src and of the gradient of weights.
std::vector<ExpectedNumber> expected_forward(const NoiseConvolution& convolution, int count);
std::vector<ExpectedNumber> expected_data_gradient(const NoiseConvolution& convolution, int count);
std::vector<ExpectedNumber> expected_weight_gradient(const NoiseConvolution& convolution, int count);

/// Empty where all elements lie within `allowed` of the largest expected one, else the worst of them in words.
std::string first_difference(const std::vector<ExpectedNumber>& expected, const std::vector<double>& got,
                             double allowed);

}  // namespace iwseg
