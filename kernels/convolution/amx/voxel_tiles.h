#pragma once

#include <cstdint>

#include "kernels/device/bf16.h"

/// Voxels of a block of 16 channels brought into the forms that tiles have when sums are over voxels.
namespace iwseg::cpu {

/// The tile's left operand: to is (voxels / 32, 16 channels, 32 voxels) of voxels (voxels, 16); voxels: a multiple
/// of 32.
void transpose_voxels(const Bf16* voxels, std::int64_t count, Bf16* to);

/// Its right operand: to is (pairs, 16 channels, 2) of voxels 2p and 2p + 1.
void interleave_voxels(const Bf16* voxels, std::int64_t pairs, Bf16* to);

/// Every step-th voxel of a row of f32 or bf16, from `first` on; zeros outside of it, or everywhere where row is null.
void gather_voxels(const float* row, std::int64_t width, std::int64_t first, std::int64_t step, std::int64_t count,
                   Bf16* to);
void gather_voxels(const Bf16* row, std::int64_t width, std::int64_t first, std::int64_t step, std::int64_t count,
                   Bf16* to);

}  // namespace iwseg::cpu
