#pragma once

#include <cstdint>

#include "kernels/cpu/vector_clones.h"
#include "kernels/device/bf16.h"

namespace iwseg::cpu {

/// The sums of a block's B channels over some voxels, by lanes of f32: not for more than chunk_voxels(B) of them, as
/// digits are lost beyond.
template <int B, class T>
IWSEG_VECTOR_CLONES static void sum_lanes(const T* x, std::int64_t voxels, double* sums) {
    constexpr int kLanes = 64;
    const std::int64_t elements = voxels * B, whole = elements / kLanes * kLanes;
    float lanes[kLanes] = {};
    for (std::int64_t i = 0; i < whole; i += kLanes)
        for (int l = 0; l < kLanes; ++l) lanes[l] += to_f32(x[i + l]);
    for (std::int64_t i = whole; i < elements; ++i) lanes[i - whole] += to_f32(x[i]);
    for (int b = 0; b < B; ++b) {
        sums[b] = 0;
        for (int l = b; l < kLanes; l += B) sums[b] += lanes[l];
    }
}

}  // namespace iwseg::cpu
