#include "models/blocks.h"

#include "engine/ops/add.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/relu.h"

namespace iwseg {

Tensor pre_activation(Tensor x, const std::string& name, ConvOptions options) {
    options.name = name + ".layer";
    return conv(relu(batch_norm(x, {.name = name + ".bn"})), options);
}

Tensor residual_block(Tensor x, const std::string& name, int channels, int kernel) {
    const ConvOptions options{.channels = channels, .kernel = kernel, .bias = false};
    const Tensor middle = pre_activation(x, name + ".conv_path.0", options);
    const Tensor active = relu(batch_norm(middle, {.name = name + ".conv_path.1.bn"}));
    // A convolution of the shortcut comes late, so that its result lives only until the last convolution adds to it.
    const bool same = x.shape().c == channels;
    const Tensor shortcut =
        same ? x : conv(x, {.channels = channels, .kernel = 1, .bias = false, .name = name + ".adjust_to_stride"});
    ConvOptions last = options;
    last.name = name + ".conv_path.1.layer";
    return add(conv(active, last), shortcut);
}

}  // namespace iwseg
