#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

/// Gradient of a convolution's weights, directly in channel-blocked layout: oneDNN has no vectorised one in 3D below
/// AVX-512. src: (N, C, D, H, W), blocked like diff_dst, or ncdhw of a few channels; diff_dst: (N, O, D, H, W),
/// blocked; both f32, or both bf16 where weight_gradient_takes_bf16 says so; diff_weights: (O, C, k, k, k), k = 1 or 3,
/// overwritten.
namespace iwseg::cpu {

bool weight_gradient_takes_bf16(Layout src, Layout diff_dst, int kernel);

std::int64_t weight_gradient_scratch_bytes(const Shape& src, std::int64_t dst_channels, int kernel, Layout dst_layout);
void weight_gradient(Stream stream, View src, View diff_dst, int kernel, float* diff_weights, void* scratch);

}  // namespace iwseg::cpu
