#pragma once

#include <cstdint>

#include "kernels/device/declare.h"

// Squared distances are separable: the nearest lesion voxel is sought along W, then among those along H, then among
// those along D (Saito and Toriwaki, 1994). What a voxel knows after the first two is where the nearest one of its row,
// then of its slice, lies: how far along H and W. Of equally near ones each search keeps the first along its axis, and
// so all three the first in raster order.
namespace iwseg {

constexpr std::int64_t kLongestSide = 32767;

/// 16 bits along H above 16 along W; or none.
using NearestOffset = std::uint32_t;
constexpr NearestOffset kNoOffset = 0x80008000u;

IWSEG_HOST_DEVICE inline NearestOffset offset_to(std::int32_t h, std::int32_t w) {
    return static_cast<std::uint32_t>(h) << 16 | (static_cast<std::uint32_t>(w) & 0xFFFFu);
}
IWSEG_HOST_DEVICE inline std::int32_t offset_h(NearestOffset offset) {
    return static_cast<std::int16_t>(offset >> 16);
}
IWSEG_HOST_DEVICE inline std::int32_t offset_w(NearestOffset offset) {
    return static_cast<std::int16_t>(offset & 0xFFFFu);
}
/// Of what is not kNoOffset.
IWSEG_HOST_DEVICE inline std::int64_t squared(NearestOffset offset) {
    const std::int64_t h = offset_h(offset), w = offset_w(offset);
    return h * h + w * w;
}

}  // namespace iwseg
