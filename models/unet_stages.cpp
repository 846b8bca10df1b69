#include "models/unet_stages.h"

#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "engine/ops/concat.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/relu.h"
#include "engine/ops/transposed_conv.h"

namespace iwseg {
namespace {

constexpr float kSlope = 0.01f;  ///< of LeakyReLU

/// Voxels of an image that one of the deepest stage stands for.
Sides all_strides(const UnetStages& stages) {
    Sides all = 1;
    for (const Sides& one : stages.strides) all.d *= one.d, all.h *= one.h, all.w *= one.w;
    return all;
}

Sides sides_of(const std::vector<std::int64_t>& shape) {
    return {static_cast<int>(shape[2]), static_cast<int>(shape[3]), static_cast<int>(shape[4])};
}

}  // namespace

UnetStages completed(UnetStages stages) {
    const std::size_t count = stages.widths.size();
    if (count < 2) throw InputError(stages.kind + " of " + std::to_string(count) + " widths: expected two or more");
    if (stages.strides.empty()) {
        stages.strides.assign(count, 2);
        stages.strides[0] = 1;
    }
    if (stages.kernels.empty()) stages.kernels.assign(count, 3);
    if (stages.strides.size() != count || stages.kernels.size() != count)
        throw InputError(stages.kind + " of " + std::to_string(count) + " widths, " +
                         std::to_string(stages.strides.size()) + " strides and " +
                         std::to_string(stages.kernels.size()) + " kernels: expected as many of each");
    const auto require = [&](const Sides& sides, int most, const std::string& what) {
        for (const int side : {sides.d, sides.h, sides.w})
            if (side < 1 || side > most)
                throw InputError(stages.kind + " with a " + what + " of " + std::to_string(side) +
                                 " voxels: expected 1 to " + std::to_string(most));
    };
    std::int64_t voxels = 1;
    for (std::size_t i = 0; i < count; ++i) {
        require(stages.strides[i], 7, "stride");
        require(stages.kernels[i], 7, "kernel");
        voxels *= stages.strides[i].product();
        if (voxels > std::numeric_limits<int>::max())
            throw InputError(stages.kind + " whose strides make a voxel of more than 2^31");
    }
    if (stages.decoder_convs < 1) throw InputError(stages.kind + " of stages without a convolution");
    return stages;
}

void require_patch(const UnetStages& stages, const Shape& image) {
    const Sides all = all_strides(stages);
    if (image.d % all.d || image.h % all.h || image.w % all.w || image.voxels() <= std::int64_t{all.d} * all.h * all.w)
        throw InputError("a patch of " + std::to_string(image.d) + " x " + std::to_string(image.h) + " x " +
                         std::to_string(image.w) + " voxels is not usable: its sides must be multiples of " +
                         std::to_string(all.d) + ", " + std::to_string(all.h) + " and " + std::to_string(all.w) +
                         ", and more than one of them in all");
}

Tensor stage_activation(Tensor x) {
    return leaky_relu(x, kSlope);
}

Tensor conv_norm_relu(Tensor x, const std::string& name, ConvOptions options) {
    options.name = name + ".conv";
    return stage_activation(instance_norm(conv(x, options), {.name = name + ".norm"}));
}

Tensor conv_stage(Tensor x, const std::string& name, int convs, int channels, const Sides& kernel,
                  const Sides& stride) {
    for (int i = 0; i < convs; ++i)
        x = conv_norm_relu(x, name + ".convs." + std::to_string(i),
                           {.channels = channels, .kernel = kernel, .stride = i == 0 ? stride : Sides(1)});
    return x;
}

Tensor decode(const UnetStages& stages, const std::vector<Tensor>& levels) {
    const std::size_t count = levels.size();
    Tensor x = levels.back();
    for (std::size_t step = 0; step + 1 < count; ++step) {
        const std::size_t level = count - 2 - step;
        const std::string number = std::to_string(step);
        const Tensor above = transposed_conv(x, {.channels = stages.widths[level],
                                                 .kernel = stages.strides[level + 1],
                                                 .name = "decoder.transpconvs." + number});
        x = conv_stage(concat(above, levels[level]), "decoder.stages." + number, stages.decoder_convs,
                       stages.widths[level], stages.kernels[level], 1);
    }
    return conv(
        x, {.channels = stages.out_channels, .kernel = 1, .name = "decoder.seg_layers." + std::to_string(count - 2)});
}

Network network_of(const UnetStages& stages, const std::string& name,
                   std::function<std::vector<Tensor>(Tensor image)> encode) {
    const Sides all = all_strides(stages);
    Network network([stages, encode = std::move(encode)](Tensor image) {
        require_patch(stages, image.shape());
        return decode(stages, encode(image));
    });
    network.name = name;
    network.in_channels = stages.in_channels;
    network.out_channels = stages.out_channels;
    network.divisor = std::lcm(std::lcm(all.d, all.h), all.w);
    network.widths = stages.widths;
    return network;
}

StoredStages::StoredStages(const std::string& file, const std::string& kind,
                           std::map<std::string, std::string>* metadata)
    : file_(file), kind_(kind), stored_(read_safetensors_header(file, metadata)) {}

std::vector<std::int64_t> StoredStages::shape_of(const std::string& name) const {
    const std::string refusal = file_ + " does not hold the weights of " + kind_ + ": " + name;
    const auto found = stored_.find(name);
    if (found == stored_.end() || found->second.shape.size() != 5)
        throw InputError(refusal + " is missing or not of five dimensions");
    for (const std::int64_t side : found->second.shape)
        if (side < 1 || side > 1 << 16) throw InputError(refusal + " has a side of " + std::to_string(side));
    return found->second.shape;
}

int StoredStages::count(const std::string& name, const std::string& rest) const {
    int count = 0;
    while (contains(name + std::to_string(count) + rest)) ++count;
    return count;
}

UnetStages StoredStages::read(const std::string& name, const std::string& rest) const {
    UnetStages stages{.kind = kind_, .widths = {}, .strides = {}, .kernels = {}};
    for (int i = 0; i == 0 || contains(name + std::to_string(i) + rest); ++i) {
        const std::vector<std::int64_t> shape = shape_of(name + std::to_string(i) + rest);
        if (i == 0) stages.in_channels = static_cast<int>(shape[1]);
        stages.widths.push_back(static_cast<int>(shape[0]));
        stages.kernels.push_back(sides_of(shape));
    }
    // The first stage's stride leaves no trace in the file: it is 1 in every plan of nnU-Net's.
    const std::size_t count_of_stages = stages.widths.size();
    if (count_of_stages < 2)
        throw InputError(file_ + " does not hold the weights of " + kind_ + ": it has one stage, of two or more");
    stages.strides.assign(count_of_stages, 1);
    for (std::size_t step = 0; step + 1 < count_of_stages; ++step)
        stages.strides[count_of_stages - 1 - step] =
            sides_of(shape_of("decoder.transpconvs." + std::to_string(step) + ".weight"));
    stages.out_channels =
        static_cast<int>(shape_of("decoder.seg_layers." + std::to_string(count_of_stages - 2) + ".weight")[0]);
    shape_of("decoder.stages.0.convs.0.conv.weight");  // there is one at least
    stages.decoder_convs = count("decoder.stages.0.convs.", ".conv.weight");
    return stages;
}

}  // namespace iwseg
