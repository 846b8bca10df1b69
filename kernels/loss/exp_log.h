#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define IWSEG_INLINE __host__ __device__ __forceinline__
#else
#define IWSEG_INLINE [[gnu::always_inline]] inline
#endif

/// exp, log1p and what losses make of them, without branches or tables, so that a loop over them becomes vector code.
/// Relative error under 3e-7. A NaN stays a NaN.
namespace iwseg {

/// a / b for b from 1 to 3. On the GPU without the steps that make a division exact to the last bit and hold for any b:
/// they are a third of a loss's arithmetic.
IWSEG_INLINE float divide_by_few(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fdividef(a, b);
#else
    return a / b;
#endif
}

/// exp(x) for x <= 0. Below -87.3, where f32 has no full precision left, it is 0.
IWSEG_INLINE float exp_nonpositive(float x) {
    // x = n ln2 + r, |r| <= ln2 / 2. Adding 1.5 * 2^23 leaves n, rounded, in the low bits.
    constexpr float log2_e = 1.44269504f, rounder = 12582912.0f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float shifted = x * log2_e + rounder, n = shifted - rounder;
    const float r = x - n * ln2_high - n * ln2_low;
    float power = 1.0f / 5040;
    power = power * r + 1.0f / 720;
    power = power * r + 1.0f / 120;
    power = power * r + 1.0f / 24;
    power = power * r + 1.0f / 6;
    power = power * r + 0.5f;
    power = power * r + 1.0f;
    power = power * r + 1.0f;
    const float scale = std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) + 127u) << 23);
    return x < -87.3f ? 0.0f : power * scale;
}

/// log(1 + x) for 0 <= x <= 1, as 2 atanh(x / (2 + x)): small x lose nothing.
IWSEG_INLINE float log1p_unit(float x) {
    const float s = divide_by_few(x, 2.0f + x), s2 = s * s;
    float series = 1.0f / 15;
    series = series * s2 + 1.0f / 13;
    series = series * s2 + 1.0f / 11;
    series = series * s2 + 1.0f / 9;
    series = series * s2 + 1.0f / 7;
    series = series * s2 + 1.0f / 5;
    series = series * s2 + 1.0f / 3;
    series = series * s2 + 1.0f;
    return 2.0f * s * series;
}

/// sigmoid(z) and 1 - sigmoid(z), both to full relative precision; `rest` is log(1 + exp(-|z|)), from which softplus
/// and log-sigmoid follow.
struct Sigmoid {
    float p, q, rest;
};

IWSEG_INLINE Sigmoid sigmoid(float z) {
    const float e = exp_nonpositive(-std::fabs(z));
    const float large = divide_by_few(1.0f, 1.0f + e), small = e * large;
    return {z >= 0.0f ? large : small, z >= 0.0f ? small : large, log1p_unit(e)};
}

/// log(1 + exp(z)), given sigmoid(z) or sigmoid(-z).
IWSEG_INLINE float softplus(float z, const Sigmoid& s) {
    return (z > 0.0f ? z : 0.0f) + s.rest;
}

}  // namespace iwseg
