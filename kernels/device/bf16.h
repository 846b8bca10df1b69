#pragma once

#include <bit>
#include <cstdint>

#include "kernels/device/declare.h"

namespace iwseg {

/// The upper half of an f32.
struct Bf16 {
    std::uint16_t bits;
};

IWSEG_HOST_DEVICE inline float to_f32(float value) {
    return value;
}
IWSEG_HOST_DEVICE inline float to_f32(Bf16 value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

IWSEG_HOST_DEVICE inline void store(float& to, float value) {
    to = value;
}
/// Rounds to nearest, ties to even; a NaN stays a NaN.
IWSEG_HOST_DEVICE inline void store(Bf16& to, float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint16_t one;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(one) : "f"(value));  // one instruction there
    to.bits = one;
#else
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
    const std::uint32_t quiet = (bits >> 16) | 0x40u;
    to.bits = static_cast<std::uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
#endif
}

IWSEG_HOST_DEVICE inline float round_to_bf16(float value) {
    Bf16 rounded;
    store(rounded, value);
    return to_f32(rounded);
}

}  // namespace iwseg
