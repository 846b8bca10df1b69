#include "models/blocks.h"

namespace iwseg {

Tensor pre_activation(Graph& graph, const std::string& name, Tensor x, const PreActivationOptions& options) {
    const Tensor active = graph.batch_norm(x, name + ".bn", true);
    ConvolutionNode node;
    node.weight = name + ".layer.weight";
    if (options.bias) node.bias = name + ".layer.bias";
    node.channels = options.channels;
    node.kernel = options.kernel;
    node.summand = options.summand;
    node.plain_f32 = options.plain_f32;
    return graph.convolution(active, node);
}

Tensor residual_block(Graph& graph, const std::string& name, Tensor x, int channels, int kernel) {
    const Tensor middle =
        pre_activation(graph, name + ".conv_path.0", x, {.channels = channels, .kernel = kernel, .bias = false});
    const Tensor active = graph.batch_norm(middle, name + ".conv_path.1.bn", true);
    // A convolution of the shortcut comes late, so that its result lives only until the last convolution adds to it.
    const bool same = graph.program()[x].shape.c == channels;
    ConvolutionNode adjust;
    adjust.weight = name + ".adjust_to_stride.weight";
    adjust.channels = channels;
    adjust.kernel = 1;
    const Tensor shortcut = same ? x : graph.convolution(x, adjust);
    ConvolutionNode last;
    last.weight = name + ".conv_path.1.layer.weight";
    last.channels = channels;
    last.kernel = kernel;
    last.summand = shortcut;
    return graph.convolution(active, last);
}

}  // namespace iwseg
