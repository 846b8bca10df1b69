#include "models/segresnet.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "engine/ops/add.h"
#include "engine/ops/conv.h"
#include "engine/ops/transposed_conv.h"
#include "engine/ops/upsample.h"
#include "models/network_kind.h"
#include "models/unet_stages.h"

namespace iwseg {
namespace {

constexpr const char* kSegResNet = "a SegResNet";

Tensor activated_norm(Tensor x, const std::string& name, const MonaiStyle& style) {
    return monai_activation(monai_norm(x, name, style), name, style);
}

Tensor monai_conv(Tensor x, const std::string& name, int channels, int kernel, int stride) {
    return conv(x, {.channels = channels, .kernel = kernel, .stride = stride, .bias = false, .name = name + ".conv"});
}

Tensor preactivated_block(Tensor x, const std::string& name, const MonaiStyle& style) {
    const int channels = static_cast<int>(x.shape().c);
    Tensor y = x;
    for (const char* number : {"1", "2"})
        y = monai_conv(activated_norm(y, name + ".norm" + number, style), name + ".conv" + number, channels, 3, 1);
    return add(y, x);
}

Tensor twice(Tensor x, const std::string& name, bool transposed) {
    const int channels = static_cast<int>(x.shape().c);
    if (!transposed) return upsample(x, Corners::half);
    return transposed_conv(x, {.channels = channels, .kernel = 2, .name = name + ".deconv"});
}

Tensor logits_of(Tensor x, const SegResNetOptions& o) {
    const std::size_t levels = o.blocks_down.size();
    std::vector<Tensor> down;
    x = monai_conv(x, "convInit", o.filters, 3, 1);
    for (std::size_t i = 0; i < levels; ++i) {
        const std::string name = "down_layers." + std::to_string(i) + ".";
        if (i > 0) x = monai_conv(x, name + "0", o.filters << i, 3, 2);
        for (int j = 1; j <= o.blocks_down[i]; ++j) x = preactivated_block(x, name + std::to_string(j), o.style);
        down.push_back(x);
    }
    for (std::size_t i = 0; i + 1 < levels; ++i) {
        const std::size_t level = levels - 2 - i;
        const std::string number = std::to_string(i);
        x = monai_conv(x, "up_samples." + number + ".0", o.filters << level, 1, 1);
        x = add(twice(x, "up_samples." + number + ".1", o.transposed), down[level]);
        for (int j = 0; j < o.blocks_up[i]; ++j)
            x = preactivated_block(x, "up_layers." + number + "." + std::to_string(j), o.style);
    }
    x = activated_norm(x, "conv_final.0", o.style);
    return conv(x, {.channels = o.out_channels, .kernel = 1, .name = "conv_final.2.conv"});
}

}  // namespace

Network segresnet(const SegResNetOptions& options) {
    const SegResNetOptions o = options;
    const auto refuse = [](const std::string& what) { throw InputError(std::string(kSegResNet) + " " + what); };
    const std::size_t levels = o.blocks_down.size();
    if (levels < 2 || levels > 8 || o.blocks_up.size() + 1 != levels)
        refuse("of " + std::to_string(levels) + " levels down and " + std::to_string(o.blocks_up.size()) +
               " up: expected two or more, and one fewer up");
    for (const auto* blocks : {&o.blocks_down, &o.blocks_up})
        if (*std::min_element(blocks->begin(), blocks->end()) < 1) refuse("with a level of no blocks");
    if (o.filters < 1 || o.filters > 1 << 12) refuse("of " + std::to_string(o.filters) + " filters");
    if (o.style.norm == MonaiStyle::Norm::group && (o.style.groups < 1 || o.filters % o.style.groups))
        refuse("of " + std::to_string(o.filters) + " filters: " + std::to_string(o.style.groups) +
               " groups of its normalisations do not divide them");
    if (o.style.activation == MonaiStyle::Activation::prelu)
        refuse("with an activation of prelu, which is not supported: expected relu or leaky_relu");
    const int divisor = 1 << (levels - 1);
    Network network([o, divisor](Tensor image) {
        const Shape& s = image.shape();
        if (s.d % divisor || s.h % divisor || s.w % divisor)
            throw InputError("a patch of " + std::to_string(s.d) + " x " + std::to_string(s.h) + " x " +
                             std::to_string(s.w) + " voxels is not usable: its sides must be multiples of " +
                             std::to_string(divisor));
        return logits_of(image, o);
    });
    network.name = "segresnet";
    network.in_channels = o.in_channels;
    network.out_channels = o.out_channels;
    network.divisor = divisor;
    for (std::size_t i = 0; i < levels; ++i) network.widths.push_back(o.filters << i);
    return network;
}

Network segresnet(int in_channels, const std::vector<int>& widths, int out_channels) {
    for (std::size_t i = 1; i < widths.size(); ++i)
        if (widths[i] != 2 * widths[i - 1])
            throw InputError(std::string(kSegResNet) + " whose widths are " + std::to_string(widths[i - 1]) + " and " +
                             std::to_string(widths[i]) + ": each is twice the one before");
    SegResNetOptions options{.in_channels = in_channels, .out_channels = out_channels};
    if (!widths.empty()) options.filters = widths[0];
    options.blocks_down.resize(widths.size(), 4);
    options.blocks_up.assign(widths.empty() ? 0 : widths.size() - 1, 1);
    return segresnet(options);
}

Network segresnet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    std::map<std::string, std::string> own;
    const StoredStages stored(file, kSegResNet, &own);
    const std::vector<std::int64_t> first = stored.shape_of("convInit.conv.weight");
    SegResNetOptions o{.in_channels = static_cast<int>(first[1]),
                       .out_channels = static_cast<int>(stored.shape_of("conv_final.2.conv.weight")[0]),
                       .filters = static_cast<int>(first[0])};
    o.blocks_down.clear();
    o.blocks_up.clear();
    const auto blocks = [&](const std::string& name, int from) {
        int count = 0;
        while (stored.contains(name + std::to_string(from + count) + ".conv1.conv.weight")) ++count;
        return count;
    };
    for (int level = 0;; ++level) {
        const int count = blocks("down_layers." + std::to_string(level) + ".", 1);
        if (count == 0) break;
        o.blocks_down.push_back(count);
    }
    for (std::size_t i = 0; i + 1 < o.blocks_down.size(); ++i)
        o.blocks_up.push_back(blocks("up_layers." + std::to_string(i) + ".", 0));
    o.transposed = stored.contains("up_samples.0.1.deconv.weight");
    if (stored.contains("conv_final.0.running_mean")) o.style.norm = MonaiStyle::Norm::batch;
    o.style = monai_style_in(own, file, o.style);
    if (metadata) *metadata = std::move(own);
    return segresnet(o);
}

constinit const NetworkKind network_kinds::segresnet{
    .array = "convInit.conv.weight",
    .make = iwseg::segresnet,
    .of_weights = segresnet_of_weights,
};

}  // namespace iwseg
