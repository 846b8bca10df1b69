#pragma once

#include <cstdint>

#include "kernels/device/bf16.h"
#include "kernels/device/view.h"

/// The innermost part of the weight gradient of a 3x3x3 convolution of bf16 elements in blocks of 16 channels, for
/// processors that multiply pairs of them (AVX512-BF16).
namespace iwseg::cpu {

struct PairsPlane {
    const Bf16* src;   ///< one sample's block of 16 input channels: (D, H, W, 16)
    const Bf16* diff;  ///< the same sample's block of 16 output channels
    std::int64_t d;    ///< plane of diff
};

/// Adds what one plane of diff contributes: sums is (kd, kh, 16 input channels, kw, 16 output channels). room: as many
/// elements as pairs_room(width). Products are exact and summed in f32; elements below the least normal one count as 0.
void add_plane_by_pairs(const PairsPlane& plane, const Shape& shape, std::uint32_t* room, float* sums);

std::int64_t pairs_room(std::int64_t width);

/// Whether the processor can run it.
bool pairs_work();

}  // namespace iwseg::cpu
