#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

/// Plain passes over all elements of a tensor, padding included.
IWSEG_BACKENDS(
    /// to += from; same shape, layout and type (f32 or bf16).
    void add(Stream stream, View from, View to);
    /// to = from, between f32 and bf16 too; same shape and layout.
    void copy(Stream stream, View from, View to);
    /// sums[c] = sum over (N, D, H, W) of x, f32, C values, in a fixed order. scratch: channel_sum_scratch_bytes.
    void channel_sum(Stream stream, View x, float* sums, void* scratch);
    std::int64_t channel_sum_scratch_bytes(const Shape& shape, Layout layout);)
