#include "models/plain_unet.h"

#include <string>
#include <vector>

#include "models/network_kind.h"
#include "models/unet_stages.h"

namespace iwseg {
namespace {

constexpr const char* kPlainUnet = "a plain U-Net";
constexpr int kConvs = 2;  ///< of a stage, where nothing is said
constexpr const char* kPlainStage = "encoder.stages.";

UnetStages stages_of(const PlainUnetOptions& options) {
    return completed({.kind = kPlainUnet,
                      .in_channels = options.in_channels,
                      .out_channels = options.out_channels,
                      .widths = options.widths,
                      .strides = options.strides,
                      .kernels = options.kernels,
                      .decoder_convs = options.decoder_convs,
                      .style = options.style},
                     kConvs);
}

}  // namespace

Network plain_unet(const PlainUnetOptions& options) {
    const UnetStages stages = stages_of(options);
    const std::vector<int> convs = completed_counts(options.convs, stages.widths.size(), kConvs, kPlainUnet);
    return network_of(stages, "plain_unet", [stages, convs](Tensor x) {
        std::vector<Tensor> levels;
        for (std::size_t i = 0; i < stages.widths.size(); ++i) {
            x = conv_stage(x, kPlainStage + std::to_string(i) + ".0", convs[i],
                           {.channels = stages.widths[i], .kernel = stages.kernels[i], .stride = stages.strides[i]},
                           stages.style);
            levels.push_back(x);
        }
        return levels;
    });
}

Tensor plain_unet(Tensor image, const PlainUnetOptions& options) {
    return plain_unet(options).build(image);
}

Network plain_unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    const StoredStages stored(file, kPlainUnet, metadata);
    const UnetStages stages = stored.read(kPlainStage, ".0.convs.0.conv.weight");
    PlainUnetOptions options{.in_channels = stages.in_channels,
                             .out_channels = stages.out_channels,
                             .widths = stages.widths,
                             .strides = stages.strides,
                             .kernels = stages.kernels,
                             .decoder_convs = stages.decoder_convs,
                             .style = stages.style};
    for (std::size_t i = 0; i < stages.widths.size(); ++i)
        options.convs.push_back(stored.count(kPlainStage + std::to_string(i) + ".0.convs.", ".conv.weight"));
    const Network network = plain_unet(options);
    return stages.heads ? network.with_heads() : network;
}

constinit const NetworkKind network_kinds::plain_unet{
    .array = "encoder.stages.0.0.convs.0.conv.weight",
    .make =
        [](int in_channels, const std::vector<int>& widths, int out_channels) {
            return iwseg::plain_unet({.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
        },
    .of_weights = plain_unet_of_weights,
};

}  // namespace iwseg
