#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/ops/concat.h"
#include "engine/ops/conv.h"
#include "engine/ops/max_pool.h"
#include "engine/ops/transposed_conv.h"
#include "models/monai_style.h"
#include "models/network_kind.h"
#include "models/unet_stages.h"

namespace iwseg {
namespace {

constexpr const char* kBasicUnet = "a BasicUNet";
constexpr int kLastLevel = 4;  ///< of levels from 0: the deepest

/// MONAI's BasicUNet of three dimensions (after Falk et al., U-Net: deep learning for cell counting, detection, and
/// morphometry, Nature Methods 2019): five levels of two convolutions, each with a norm and an activation, halved by
/// the largest of 2 x 2 x 2 voxels, doubled by transposed convolutions, joined by concatenation.
struct BasicUnet {
    int in_channels = 1, out_channels = 1;
    std::vector<int> widths;  ///< MONAI's features: of the five levels, and of the last two convolutions
    bool bias = true;         ///< of convolutions
    /// strides are not read.
    MonaiStyle style{.activation = MonaiStyle::Activation::leaky_relu, .slope = 0.1f};
};

Tensor two_convs(Tensor x, const std::string& name, int channels, const BasicUnet& o) {
    for (const char* number : {"0", "1"}) {
        const std::string one = name + ".conv_" + number;
        x = conv(x, {.channels = channels, .bias = o.bias, .name = one + ".conv"});
        x = monai_activation(monai_norm(x, one + ".adn.N", o.style), one + ".adn.A", o.style);
    }
    return x;
}

Tensor logits_of(Tensor image, const BasicUnet& o) {
    std::vector<Tensor> levels{two_convs(image, "conv_0", o.widths[0], o)};
    for (int i = 1; i <= kLastLevel; ++i)
        levels.push_back(two_convs(max_pool(levels.back()), "down_" + std::to_string(i) + ".convs", o.widths[i], o));
    Tensor x = levels.back();
    for (int i = kLastLevel; i > 0; --i) {
        const std::string name = "upcat_" + std::to_string(i);
        const bool last = i == 1;
        const Tensor above =
            transposed_conv(x, {.channels = last ? o.widths[i] : o.widths[i] / 2, .name = name + ".upsample.deconv"});
        x = two_convs(concat(levels[i - 1], above), name + ".convs", o.widths[last ? kLastLevel + 1 : i - 1], o);
    }
    return conv(x, {.channels = o.out_channels, .kernel = 1, .name = "final_conv"});
}

/// Parameters have the names of MONAI's state_dict. MONAI repeats the last voxels of odd sides; here sides are
/// multiples of 16.
Network basic_unet(const BasicUnet& o) {
    const auto refuse = [](const std::string& what) { throw InputError(std::string(kBasicUnet) + " " + what); };
    if (o.widths.size() != kLastLevel + 2)
        refuse("of " + std::to_string(o.widths.size()) +
               " widths: expected six, of its five levels and of its last two convolutions");
    for (int i = 2; i <= kLastLevel; ++i)
        if (o.widths[i] < 2)
            refuse("with a level of one channel, of which half are wanted above: expected two or more");
    const UnetStages halved{
        .kind = kBasicUnet, .widths = {}, .strides = {1, 2, 2, 2, 2}, .kernels = {}, .decoder_convs = {}};
    Network network([o, halved](Tensor image) {
        require_patch(halved, image.shape());
        return logits_of(image, o);
    });
    network.name = "basic_unet";
    network.in_channels = o.in_channels;
    network.out_channels = o.out_channels;
    network.divisor = 1 << kLastLevel;
    network.widths = o.widths;
    return network;
}

Network basic_unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    std::map<std::string, std::string> own;
    const StoredStages stored(file, kBasicUnet, &own);
    const std::string first = "conv_0.conv_0.";
    const auto outputs = [&](const std::string& name) {
        return static_cast<int>(stored.shape_of(name + ".weight")[0]);
    };
    BasicUnet o{.in_channels = static_cast<int>(stored.shape_of(first + "conv.weight")[1]),
                .out_channels = outputs("final_conv"),
                .widths = {outputs(first + "conv")},
                .bias = stored.contains(first + "conv.bias")};
    for (int i = 1; i <= kLastLevel; ++i)
        o.widths.push_back(outputs("down_" + std::to_string(i) + ".convs.conv_0.conv"));
    o.widths.push_back(outputs("upcat_1.convs.conv_0.conv"));
    if (stored.contains(first + "adn.N.running_mean")) o.style.norm = MonaiStyle::Norm::batch;
    if (stored.contains(first + "adn.A.weight")) o.style.activation = MonaiStyle::Activation::prelu;
    o.style.slope_per_channel = stored.elements_of(first + "adn.A.weight") > 1;
    o.style = monai_style_in(own, file, o.style);
    if (metadata) *metadata = std::move(own);
    return basic_unet(o);
}

}  // namespace

constinit const NetworkKind network_kinds::basic_unet{
    .array = "conv_0.conv_0.conv.weight",
    .make =
        [](int in_channels, const std::vector<int>& widths, int out_channels) {
            return iwseg::basic_unet({.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
        },
    .of_weights = basic_unet_of_weights,
};

}  // namespace iwseg
