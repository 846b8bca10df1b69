#pragma once

#include <string>

#include "engine/graph.h"

namespace iwseg {

/// BatchNorm, ReLU, convolution: parameters NAME.bn.*, NAME.layer.*.
struct PreActivationOptions {
    int channels = 1, kernel = 3;
    bool bias = true;
    Tensor summand = -1;     ///< what the result is added to; it stays as it is
    bool plain_f32 = false;  ///< result as (N, C, D, H, W) f32
};
Tensor pre_activation(Graph& graph, const std::string& name, Tensor x, const PreActivationOptions& options);

/// Two pre-activations without bias, plus x, or plus a 1x1x1 convolution of x (NAME.adjust_to_stride) where widths differ.
Tensor residual_block(Graph& graph, const std::string& name, Tensor x, int channels, int kernel);

}  // namespace iwseg
