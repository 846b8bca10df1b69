#include "models/plain_unet.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "base/error.h"
#include "engine/ops/concat.h"
#include "engine/ops/conv.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/relu.h"
#include "engine/ops/transposed_conv.h"
#include "engine/safetensors.h"

namespace iwseg {
namespace {

constexpr float kSlope = 0.01f;  ///< of LeakyReLU

/// With strides and kernels of every stage. Throws where the options do not fit together.
PlainUnetOptions completed(PlainUnetOptions options) {
    const std::size_t stages = options.widths.size();
    if (stages < 2) throw InputError("a plain U-Net of " + std::to_string(stages) + " widths: expected two or more");
    if (options.strides.empty()) {
        options.strides.assign(stages, 2);
        options.strides[0] = 1;
    }
    if (options.kernels.empty()) options.kernels.assign(stages, 3);
    if (options.strides.size() != stages || options.kernels.size() != stages)
        throw InputError("a plain U-Net of " + std::to_string(stages) + " widths, " +
                         std::to_string(options.strides.size()) + " strides and " +
                         std::to_string(options.kernels.size()) + " kernels: expected as many of each");
    if (options.convs < 1) throw InputError("a plain U-Net of stages without a convolution");
    return options;
}

/// Voxels of an image that one of the deepest stage stands for.
Sides all_strides(const PlainUnetOptions& options) {
    Sides all = 1;
    for (const Sides& one : options.strides) all.d *= one.d, all.h *= one.h, all.w *= one.w;
    return all;
}

Tensor stage(Tensor x, const std::string& name, int channels, int convs, const Sides& kernel, const Sides& stride) {
    for (int i = 0; i < convs; ++i) {
        const std::string one = name + ".convs." + std::to_string(i);
        x = conv(x,
                 {.channels = channels, .kernel = kernel, .stride = i == 0 ? stride : Sides(1), .name = one + ".conv"});
        x = leaky_relu(instance_norm(x, {.name = one + ".norm"}), kSlope);
    }
    return x;
}

std::string encoder_stage(std::size_t i) {
    return "encoder.stages." + std::to_string(i) + ".0";
}

}  // namespace

Tensor plain_unet(Tensor image, const PlainUnetOptions& given) {
    const PlainUnetOptions options = completed(given);
    const Sides all = all_strides(options);
    const Shape shape = image.shape();
    if (shape.d % all.d || shape.h % all.h || shape.w % all.w || shape.voxels() <= std::int64_t{all.d} * all.h * all.w)
        throw InputError("a patch of " + std::to_string(shape.d) + " x " + std::to_string(shape.h) + " x " +
                         std::to_string(shape.w) + " voxels is not usable: its sides must be multiples of " +
                         std::to_string(all.d) + ", " + std::to_string(all.h) + " and " + std::to_string(all.w) +
                         ", and more than one of them in all");
    const std::size_t stages = options.widths.size();
    std::vector<Tensor> levels;
    Tensor x = image;
    for (std::size_t i = 0; i < stages; ++i) {
        x = stage(x, encoder_stage(i), options.widths[i], options.convs, options.kernels[i], options.strides[i]);
        levels.push_back(x);
    }
    for (std::size_t step = 0; step + 1 < stages; ++step) {
        const std::size_t level = stages - 2 - step;
        const std::string number = std::to_string(step);
        const Tensor above = transposed_conv(x, {.channels = options.widths[level],
                                                 .kernel = options.strides[level + 1],
                                                 .name = "decoder.transpconvs." + number});
        x = stage(concat(above, levels[level]), "decoder.stages." + number, options.widths[level], options.convs,
                  options.kernels[level], 1);
    }
    return conv(
        x, {.channels = options.out_channels, .kernel = 1, .name = "decoder.seg_layers." + std::to_string(stages - 2)});
}

Network plain_unet(const PlainUnetOptions& given) {
    const PlainUnetOptions options = completed(given);
    const Sides all = all_strides(options);
    Network network([options](Tensor image) { return plain_unet(image, options); });
    network.name = "plain_unet";
    network.in_channels = options.in_channels;
    network.out_channels = options.out_channels;
    network.divisor = std::lcm(std::lcm(all.d, all.h), all.w);
    network.widths = options.widths;
    return network;
}

Network plain_unet_of_weights(const std::string& file, std::map<std::string, std::string>* metadata) {
    const auto stored = read_safetensors_header(file, metadata);
    const auto shape_of = [&](const std::string& name) {
        const auto found = stored.find(name);
        if (found == stored.end() || found->second.shape.size() != 5)
            throw InputError(file + " does not hold a plain U-Net's weights: " + name +
                             " is missing or not of five dimensions");
        for (const std::int64_t side : found->second.shape)
            if (side < 1 || side > 1 << 16)
                throw InputError(file + " does not hold a plain U-Net's weights: " + name + " has a side of " +
                                 std::to_string(side));
        return found->second.shape;
    };
    const auto sides_of = [](const std::vector<std::int64_t>& shape) {
        return Sides(static_cast<int>(shape[2]), static_cast<int>(shape[3]), static_cast<int>(shape[4]));
    };
    const auto conv_of = [](std::size_t stage, int i) {
        return encoder_stage(stage) + ".convs." + std::to_string(i) + ".conv.weight";
    };
    PlainUnetOptions options;
    options.widths.clear();
    options.convs = 0;
    while (stored.contains(conv_of(0, options.convs))) ++options.convs;
    for (std::size_t i = 0; i == 0 || stored.contains(conv_of(i, 0)); ++i) {
        const auto shape = shape_of(conv_of(i, 0));
        if (i == 0) options.in_channels = static_cast<int>(shape[1]);
        options.widths.push_back(static_cast<int>(shape[0]));
        options.kernels.push_back(sides_of(shape));
    }
    // The first stage's stride leaves no trace in the file: it is 1 in every plan of nnU-Net's.
    const std::size_t stages = options.widths.size();
    options.strides.assign(stages, 1);
    for (std::size_t step = 0; step + 1 < stages; ++step)
        options.strides[stages - 1 - step] =
            sides_of(shape_of("decoder.transpconvs." + std::to_string(step) + ".weight"));
    if (stages >= 2)
        options.out_channels =
            static_cast<int>(shape_of("decoder.seg_layers." + std::to_string(stages - 2) + ".weight")[0]);
    return plain_unet(options);
}

}  // namespace iwseg
