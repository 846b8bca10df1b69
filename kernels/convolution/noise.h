#pragma once

#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

IWSEG_BACKENDS(
    /// to[i] = noise_at(operand, i) for `count` elements of f32 or bf16 (kernels/convolution/check.h).
    void fill_with_noise(Stream stream, std::uint32_t operand, Type type, std::int64_t count, void* to);)
