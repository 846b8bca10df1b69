#pragma once

#include "kernels/device/declare.h"
#include "kernels/device/view.h"
#include "kernels/elementwise/activation_formulas.h"

/// Functions of one element, ReLU and its like (kernels/activation_formulas.h). All tensors (N, C, D, H, W), f32 or
/// bf16, of one form, else std::invalid_argument is thrown.
IWSEG_BACKENDS(
    /// y = function(x); y may be x. Channels that fill the last block stay 0.
    void activate(Stream stream, View x, Activation function, View y);
    /// diff_x = diff_y times the function's derivative, or += it. kept: y where gradient_of_result(function), else x.
    /// diff_x may be diff_y.
    void activate_backward(Stream stream, View kept, View diff_y, Activation function, View diff_x, Write write);)
