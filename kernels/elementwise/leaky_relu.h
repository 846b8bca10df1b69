#pragma once

#include "kernels/device/backend.h"
#include "kernels/device/view.h"

/// y = x above 0, else slope * x, with 0 <= slope < 1; ReLU for 0. x, y: (N, C, D, H, W), f32 or bf16, of one form.
IWSEG_BACKENDS(
    /// y may be x. A NaN stays one.
    void leaky_relu(Stream stream, View x, float slope, View y);
    /// By y, whose sign is x's: x need not be kept. At 0 the gradient is slope times diff_y, as PyTorch's. diff_x may
    /// be diff_y.
    void leaky_relu_backward(Stream stream, View y, View diff_y, float slope, View diff_x, Write write);)
