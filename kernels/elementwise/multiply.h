#pragma once

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

/// y = a b, or += it, element by element; y may be a or b. (N, C, D, H, W), f32 or bf16, all of one form, else
/// std::invalid_argument is thrown.
IWSEG_BACKENDS(void multiply(Stream stream, View a, View b, View y, Write write);)
