#include "models/unet.h"

#include <vector>

#include "base/error.h"
#include "engine/ops/add.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/max_pool.h"
#include "engine/ops/upsample.h"
#include "engine/safetensors.h"
#include "models/blocks.h"
#include "models/network_kind.h"

namespace iwseg {
namespace {

constexpr int kLevels = 3;  ///< of halving; under the last lies the bridge
constexpr int kDivisor = 1 << kLevels;

/// Residual blocks in a row, NAME.0, NAME.1, …
Tensor blocks(Tensor x, const std::string& name, const std::vector<int>& channels) {
    for (std::size_t i = 0; i < channels.size(); ++i)
        x = residual_block(x, name + "." + std::to_string(i), channels[i], 3);
    return x;
}

}  // namespace

Tensor unet(Tensor image, const UnetOptions& options) {
    const Shape shape = image.shape();
    if (shape.d % kDivisor || shape.h % kDivisor || shape.w % kDivisor || shape.voxels() == 0)
        throw InputError("a patch of " + std::to_string(shape.d) + " x " + std::to_string(shape.h) + " x " +
                         std::to_string(shape.w) + " voxels is not usable: every side must be a multiple of 8");
    const auto& w = options.widths;
    if (w.size() != kLevels + 1)
        throw InputError("a network of " + std::to_string(w.size()) + " widths: expected four, one a level");
    const std::vector<std::vector<int>> down{{w[0], w[0]}, {w[1], w[1]}, {w[2], w[2]}};
    const std::vector<std::vector<int>> up{{w[0], w[0]}, {w[1], w[0]}, {w[2], w[1]}};
    Tensor x = conv(image, {.channels = w[0], .bias = false, .name = "0.0"});
    x = pre_activation(x, "0.1", {.channels = w[0]});
    std::vector<Tensor> levels;
    for (int level = 0; level < kLevels; ++level) {
        x = blocks(x, "1.down_path." + std::to_string(level), down[level]);
        levels.push_back(x);
        x = max_pool(x);
    }
    x = blocks(x, "1.bridge", {w[3], w[3], w[2]});
    for (int level = kLevels - 1; level >= 0; --level) {
        // The skip is computed only here, into the upsampled tensor: nothing is kept for it meanwhile.
        const Tensor above = upsample(x);
        const std::string name = "1.middle_path." + std::to_string(level);
        x = add(pre_activation(levels[level], name, {.channels = w[level], .kernel = 1}), above);
        x = blocks(x, "1.up_path." + std::to_string(level), up[level]);
    }
    x = residual_block(x, "2.0", w[0], 1);
    x = pre_activation(x, "2.1", {.channels = options.out_channels, .kernel = 1, .bias = false});
    return batch_norm(x, {.name = "2.2"});
}

Network unet(const UnetOptions& options) {
    Network network([options](Tensor image) { return unet(image, options); });
    network.name = "unet";
    network.in_channels = options.in_channels;
    network.out_channels = options.out_channels;
    network.divisor = kDivisor;
    network.widths = options.widths;
    return network;
}

Network unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    const auto stored = read_safetensors_header(file, metadata);
    const auto side = [&](const std::string& name, std::size_t axis) {
        const auto found = stored.find(name);
        if (found == stored.end() || found->second.shape.size() != 5 || found->second.shape[axis] < 1 ||
            found->second.shape[axis] > 1 << 16)
            throw InputError(file + " does not hold this network's weights: " + name +
                             " is missing or not of five dimensions");
        return static_cast<int>(found->second.shape[axis]);
    };
    UnetOptions options;
    options.in_channels = side("0.0.weight", 1);
    options.out_channels = side("2.1.layer.weight", 0);
    options.widths = {side("0.0.weight", 0), side("1.down_path.1.0.conv_path.0.layer.weight", 0),
                      side("1.down_path.2.0.conv_path.0.layer.weight", 0),
                      side("1.bridge.0.conv_path.0.layer.weight", 0)};
    return unet(options);
}

constinit const NetworkKind network_kinds::unet{
    .array = "0.0.weight",
    .make =
        [](int in_channels, const std::vector<int>& widths, int out_channels) {
            return iwseg::unet({.in_channels = in_channels, .out_channels = out_channels, .widths = widths});
        },
    .of_weights = unet_of_weights,
};

}  // namespace iwseg
