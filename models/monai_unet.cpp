#include "models/monai_unet.h"

#include <cstddef>
#include <numeric>

#include "base/error.h"
#include "engine/ops/add.h"
#include "engine/ops/concat.h"
#include "engine/ops/conv.h"
#include "engine/ops/transposed_conv.h"
#include "models/network_kind.h"
#include "models/unet_stages.h"

namespace iwseg {
namespace {

constexpr const char* kMonaiUnet = "a MONAI UNet";

Tensor norm_and_activation(Tensor x, const std::string& name, const MonaiStyle& style) {
    return monai_activation(monai_norm(x, name + ".adn.N", style), name + ".adn.A", style);
}

/// The way down of a level, or the deepest level.
Tensor enter(Tensor x, const std::string& name, int channels, const Sides& stride, int units, bool last_alone,
             const MonaiUnetOptions& o) {
    const auto one = [&](Tensor from, const std::string& unit, const Sides& step, bool alone) {
        const Tensor y = conv(
            from, {.channels = channels, .kernel = o.kernel, .stride = step, .bias = o.bias, .name = unit + ".conv"});
        return alone ? y : norm_and_activation(y, unit, o.style);
    };
    if (units == 0) return one(x, name, stride, last_alone);
    Tensor y = x, shortcut = x;
    for (int i = 0; i < units; ++i)
        y = one(y, name + ".conv.unit" + std::to_string(i), i == 0 ? stride : Sides(1), last_alone && i + 1 == units);
    const bool strides = stride != Sides(1);
    if (strides || x.shape().c != channels)
        shortcut = conv(x, {.channels = channels,
                            .kernel = strides ? o.kernel : Sides(1),
                            .stride = stride,
                            .bias = o.bias,
                            .name = name + ".residual"});
    return add(y, shortcut);
}

/// Level i with all beneath; name: as "model.1.submodule.".
Tensor level_of(Tensor x, const std::string& name, std::size_t i, const MonaiUnetOptions& o) {
    const Sides stride = o.style.strides[i];
    const Tensor down = enter(x, name + "0", o.widths[i], stride, o.residual_units, false, o);
    const std::string beneath = name + "1.submodule";
    const Tensor below = i + 2 < o.widths.size() ? level_of(down, beneath + ".", i + 1, o)
                                                 : enter(down, beneath, o.widths[i + 1], 1, o.residual_units, false, o);
    const bool top = i == 0, units = o.residual_units > 0;
    const int channels = top ? o.out_channels : o.widths[i - 1];
    const std::string up = name + (units ? "2.0" : "2");
    Tensor y = transposed_conv(
        concat(down, below),
        {.channels = channels, .kernel = o.up_kernel, .stride = stride, .bias = o.bias, .name = up + ".conv"});
    if (!top || units) y = norm_and_activation(y, up, o.style);
    return units ? enter(y, name + "2.1", channels, 1, 1, top, o) : y;
}

}  // namespace

Network monai_unet(const MonaiUnetOptions& options) {
    MonaiUnetOptions o = options;
    if (o.style.strides.empty() && !o.widths.empty()) o.style.strides.assign(o.widths.size() - 1, 2);
    std::vector<Sides> strides = o.style.strides;
    strides.insert(strides.begin(), 1);
    if (strides.size() != o.widths.size() && o.widths.size() > 1)
        throw InputError(std::string(kMonaiUnet) + " of " + std::to_string(o.widths.size()) + " levels and " +
                         std::to_string(o.style.strides.size()) +
                         " strides: expected one of each level but the deepest");
    // Strides and patches are held to what the other U-Nets are.
    const UnetStages stages =
        completed({.kind = kMonaiUnet, .widths = o.widths, .strides = strides, .kernels = {}, .decoder_convs = {}}, 1);
    for (const Sides& kernel : {o.kernel, o.up_kernel})
        for (const int side : {kernel.d, kernel.h, kernel.w})
            if (side < 1 || side > kMostSide || side % 2 == 0)
                throw InputError(std::string(kMonaiUnet) + " with a kernel of " + std::to_string(side) +
                                 " voxels: expected 1, 3, 5 or 7");
    if (o.style.norm == MonaiStyle::Norm::group) {
        std::vector<int> channels = o.widths;
        if (o.residual_units > 0) channels.push_back(o.out_channels);  // whose norm is in the top level's way up
        for (const int c : channels)
            if (o.style.groups < 1 || c % o.style.groups)
                throw InputError(std::string(kMonaiUnet) + " with a level of " + std::to_string(c) + " channels: " +
                                 std::to_string(o.style.groups) + " groups of its normalisations do not divide them");
    }
    const Sides all = product_of(o.style.strides);
    Network network([o, stages](Tensor image) {
        require_patch(stages, image.shape());
        return level_of(image, "model.", 0, o);
    });
    network.name = "monai_unet";
    network.in_channels = o.in_channels;
    network.out_channels = o.out_channels;
    network.divisor = std::lcm(std::lcm(all.d, all.h), all.w);
    network.widths = o.widths;
    return network;
}

Network monai_unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    std::map<std::string, std::string> own;
    const StoredStages stored(file, kMonaiUnet, &own);
    MonaiUnetOptions o;
    o.residual_units = stored.count("model.0.conv.unit", ".conv.weight");
    const std::string first = o.residual_units > 0 ? ".conv.unit0" : "", up = o.residual_units > 0 ? "2.0" : "2";
    const auto shape = [&](const std::string& layer) { return stored.shape_of(layer + ".conv.weight"); };
    o.widths.clear();
    o.in_channels = static_cast<int>(shape("model.0" + first)[1]);
    o.out_channels = static_cast<int>(shape("model." + up)[1]);
    o.kernel = kernel_in(shape("model.0" + first));
    o.up_kernel = kernel_in(shape("model." + up));
    o.bias = stored.contains("model.0" + first + ".conv.bias");
    std::string name = "model.";
    for (; stored.contains(name + up + ".conv.weight"); name += "1.submodule.")
        o.widths.push_back(static_cast<int>(shape(name + "0" + first)[0]));
    o.widths.push_back(static_cast<int>(shape(name.substr(0, name.size() - 1) + first)[0]));
    const std::string layer = "model.0" + first + ".adn.";
    o.style.norm = stored.contains(layer + "N.running_mean") ? MonaiStyle::Norm::batch : MonaiStyle::Norm::instance;
    o.style.activation =
        stored.contains(layer + "A.weight") ? MonaiStyle::Activation::prelu : MonaiStyle::Activation::relu;
    o.style.slope_per_channel = stored.elements_of(layer + "A.weight") > 1;
    o.style = monai_style_in(own, file, o.style);
    if (metadata) *metadata = std::move(own);
    return monai_unet(o);
}

constinit const NetworkKind network_kinds::monai_unet{
    .array = "model.0.conv.unit0.conv.weight",
    .or_array = "model.0.conv.weight",
    .make =
        [](int in_channels, const std::vector<int>& widths, int out_channels) {
            return iwseg::monai_unet({.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
        },
    .of_weights = monai_unet_of_weights,
};

}  // namespace iwseg
