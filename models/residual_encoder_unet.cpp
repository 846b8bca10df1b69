#include "models/residual_encoder_unet.h"

#include <cstddef>

#include "engine/ops/add.h"
#include "engine/ops/average_pool.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/relu.h"
#include "models/network_kind.h"
#include "models/unet_stages.h"

namespace iwseg {
namespace {

constexpr const char* kResidualEncoderUnet = "a U-Net with a residual encoder";

std::string stage_name(std::size_t stage) {
    return "encoder.stages." + std::to_string(stage) + ".blocks.";
}

UnetStages stages_of(const ResidualEncoderUnetOptions& options) {
    return completed({.kind = kResidualEncoderUnet,
                      .in_channels = options.in_channels,
                      .out_channels = options.out_channels,
                      .widths = options.widths,
                      .strides = options.strides,
                      .kernels = options.kernels,
                      .decoder_convs = options.decoder_convs,
                      .style = options.style},
                     1);
}

std::vector<int> blocks_of(const ResidualEncoderUnetOptions& options) {
    std::vector<int> blocks = options.blocks;
    if (blocks.empty())
        for (const int first : {1, 3, 4})
            if (blocks.size() < options.widths.size()) blocks.push_back(first);
    if (options.blocks.empty()) blocks.resize(options.widths.size(), 6);
    return completed_counts(blocks, options.widths.size(), 1, kResidualEncoderUnet);
}

/// Two convolutions beside a shortcut. conv: the channels, kernel and stride.
Tensor block(Tensor x, const std::string& name, const ConvOptions& options, const UnetStyle& style) {
    Tensor shortcut = x;
    const bool strides = options.stride != Sides(1);
    if (strides) shortcut = average_pool(shortcut, options.stride);
    if (x.shape().c != options.channels) {
        const std::string projection = name + (strides ? ".skip.1" : ".skip.0");  // the pooling counts
        shortcut =
            conv(shortcut, {.channels = options.channels, .kernel = 1, .bias = false, .name = projection + ".conv"});
        shortcut = instance_norm(shortcut, {.epsilon = style.epsilon, .name = projection + ".norm"});
    }
    x = conv_norm_relu(x, name + ".conv1", options, style);
    x = conv_norm(x, name + ".conv2", {.channels = options.channels, .kernel = options.kernel}, style);
    return leaky_relu(add(x, shortcut), style.slope);
}

}  // namespace

Network residual_encoder_unet(const ResidualEncoderUnetOptions& options) {
    const UnetStages stages = stages_of(options);
    return network_of(stages, "residual_encoder_unet", [stages, blocks = blocks_of(options)](Tensor x) {
        std::vector<Tensor> levels;
        x = conv_stage(x, "encoder.stem", 1, {.channels = stages.widths[0], .kernel = stages.kernels[0]}, stages.style);
        for (std::size_t i = 0; i < stages.widths.size(); ++i) {
            for (int j = 0; j < blocks[i]; ++j)
                x = block(x, stage_name(i) + std::to_string(j),
                          {.channels = stages.widths[i],
                           .kernel = stages.kernels[i],
                           .stride = j == 0 ? stages.strides[i] : Sides(1)},
                          stages.style);
            levels.push_back(x);
        }
        return levels;
    });
}

Network residual_encoder_unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    const StoredStages stored(file, kResidualEncoderUnet, metadata);
    const UnetStages stages = stored.read("encoder.stages.", ".blocks.0.conv1.conv.weight");
    ResidualEncoderUnetOptions options{
        .in_channels = static_cast<int>(stored.shape_of("encoder.stem.convs.0.conv.weight")[1]),
        .out_channels = stages.out_channels,
        .widths = stages.widths,
        .strides = stages.strides,
        .kernels = stages.kernels,
        .decoder_convs = stages.decoder_convs,
        .style = stages.style};
    for (std::size_t i = 0; i < stages.widths.size(); ++i)
        options.blocks.push_back(stored.count(stage_name(i), ".conv1.conv.weight"));
    const Network network = residual_encoder_unet(options);
    return stages.heads ? network.with_heads() : network;
}

constinit const NetworkKind network_kinds::residual_encoder_unet{
    .array = "encoder.stem.convs.0.conv.weight",
    .make =
        [](int in_channels, const std::vector<int>& widths, int out_channels) {
            return iwseg::residual_encoder_unet(
                {.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
        },
    .of_weights = residual_encoder_unet_of_weights,
};

}  // namespace iwseg
