#include "models/unet_stages.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "engine/ops/concat.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/relu.h"
#include "engine/ops/transposed_conv.h"

namespace iwseg {
namespace {

using nlohmann::json;

constexpr const char* kStyleKey = "unet_style";

/// What the metadata say beside the shapes. Throws InputError where that is not usable.
UnetStyle style_in(const std::map<std::string, std::string>& metadata, const std::string& file) {
    UnetStyle style;
    const auto found = metadata.find(kStyleKey);
    if (found == metadata.end()) return style;
    const json keys = json::parse(found->second, nullptr, false);
    const auto is_number = [&](const char* key) { return keys.contains(key) && keys[key].is_number(); };
    if (!keys.is_object() || !is_number("epsilon") || !is_number("slope"))
        throw InputError(file + ": " + kStyleKey + " = " + found->second +
                         " is not usable, expected {\"epsilon\": number, \"slope\": number}");
    style.epsilon = keys["epsilon"].get<float>();
    style.slope = keys["slope"].get<float>();
    return style;
}

}  // namespace

Sides product_of(const std::vector<Sides>& strides) {
    Sides all = 1;
    for (const Sides& one : strides) all.d *= one.d, all.h *= one.h, all.w *= one.w;
    return all;
}

Sides kernel_in(const std::vector<std::int64_t>& shape) {
    return {static_cast<int>(shape[2]), static_cast<int>(shape[3]), static_cast<int>(shape[4])};
}

std::vector<int> completed_counts(std::vector<int> counts, std::size_t stages, int most_often,
                                  const std::string& kind) {
    if (counts.empty()) counts.assign(stages, most_often);
    if (counts.size() != stages || *std::min_element(counts.begin(), counts.end()) < 1)
        throw InputError(kind + ": expected " + std::to_string(stages) +
                         " numbers of convolutions or blocks, each 1 or more");
    return counts;
}

UnetStages completed(UnetStages stages, int decoder_convs) {
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
    const auto require = [&](const Sides& sides, const std::string& what) {
        for (const int side : {sides.d, sides.h, sides.w})
            if (side < 1 || side > kMostSide)
                throw InputError(stages.kind + " with a " + what + " of " + std::to_string(side) +
                                 " voxels: expected 1 to " + std::to_string(kMostSide));
    };
    std::int64_t voxels = 1;
    for (std::size_t i = 0; i < count; ++i) {
        require(stages.strides[i], "stride");
        require(stages.kernels[i], "kernel");
        voxels *= stages.strides[i].product();
        if (voxels > std::numeric_limits<int>::max())
            throw InputError(stages.kind + " whose strides make a voxel of more than 2^31");
    }
    stages.decoder_convs = completed_counts(std::move(stages.decoder_convs), count - 1, decoder_convs, stages.kind);
    if (!(stages.style.epsilon > 0 && stages.style.epsilon < 1))
        throw InputError(stages.kind + " with an epsilon of " + std::to_string(stages.style.epsilon) +
                         ": expected one between 0 and 1");
    if (!(stages.style.slope >= 0 && stages.style.slope < 1))
        throw InputError(stages.kind + " with a slope of " + std::to_string(stages.style.slope) +
                         ": expected one from 0 to below 1");
    return stages;
}

void require_patch(const UnetStages& stages, const Shape& image) {
    const Sides all = product_of(stages.strides);
    if (image.d % all.d || image.h % all.h || image.w % all.w || image.voxels() <= std::int64_t{all.d} * all.h * all.w)
        throw InputError("a patch of " + std::to_string(image.d) + " x " + std::to_string(image.h) + " x " +
                         std::to_string(image.w) + " voxels is not usable: its sides must be multiples of " +
                         std::to_string(all.d) + ", " + std::to_string(all.h) + " and " + std::to_string(all.w) +
                         ", and more than one of them in all");
}

Tensor conv_norm(Tensor x, const std::string& name, ConvOptions options, const UnetStyle& style) {
    options.bias = style.conv_bias;
    options.name = name + ".conv";
    return instance_norm(conv(x, options), {.epsilon = style.epsilon, .name = name + ".norm"});
}

Tensor conv_norm_relu(Tensor x, const std::string& name, const ConvOptions& options, const UnetStyle& style) {
    return leaky_relu(conv_norm(x, name, options, style), style.slope);
}

Tensor conv_stage(Tensor x, const std::string& name, int convs, ConvOptions options, const UnetStyle& style) {
    for (int i = 0; i < convs; ++i) {
        x = conv_norm_relu(x, name + ".convs." + std::to_string(i), options, style);
        options.stride = 1;
    }
    return x;
}

std::vector<Tensor> decode(const UnetStages& stages, const std::vector<Tensor>& levels) {
    const std::size_t count = levels.size();
    Tensor x = levels.back();
    std::vector<Tensor> logits;
    for (std::size_t step = 0; step + 1 < count; ++step) {
        const std::size_t level = count - 2 - step;
        const std::string number = std::to_string(step);
        const Tensor above = transposed_conv(x, {.channels = stages.widths[level],
                                                 .kernel = stages.strides[level + 1],
                                                 .bias = stages.style.conv_bias,
                                                 .name = "decoder.transpconvs." + number});
        x = conv_stage(concat(above, levels[level]), "decoder.stages." + number, stages.decoder_convs[step],
                       {.channels = stages.widths[level], .kernel = stages.kernels[level]}, stages.style);
        if (stages.heads || level == 0)
            logits.push_back(
                conv(x, {.channels = stages.out_channels, .kernel = 1, .name = "decoder.seg_layers." + number}));
    }
    std::reverse(logits.begin(), logits.end());
    return logits;
}

Network network_of(const UnetStages& stages, const std::string& name,
                   std::function<std::vector<Tensor>(Tensor image)> encode) {
    const Sides all = product_of(stages.strides);
    const auto build_levels = [stages, encode](Tensor image) {
        require_patch(stages, image.shape());
        return decode(stages, encode(image));
    };
    Network network([build_levels](Tensor image) { return build_levels(image).front(); });
    if (stages.heads) network.build_levels = build_levels;
    if (!stages.heads && stages.widths.size() > 2)  // of two stages there is one resolution
        network.with_heads = [stages, name, encode] {
            UnetStages more = stages;
            more.heads = true;
            return network_of(more, name, encode);
        };
    network.name = name;
    network.in_channels = stages.in_channels;
    network.out_channels = stages.out_channels;
    network.divisor = std::lcm(std::lcm(all.d, all.h), all.w);
    network.widths = stages.widths;
    return network;
}

std::map<std::string, std::string> style_metadata(const UnetStyle& style) {
    if (style.epsilon == UnetStyle{}.epsilon && style.slope == UnetStyle{}.slope) return {};
    return {{kStyleKey, json{{"epsilon", style.epsilon}, {"slope", style.slope}}.dump()}};
}

StoredStages::StoredStages(const std::string& file, const std::string& kind,
                           std::map<std::string, std::string>* metadata)
    : file_(file), kind_(kind) {
    std::map<std::string, std::string> own;
    stored_ = read_safetensors_header(file, &own);
    style_ = style_in(own, file);
    if (metadata) *metadata = std::move(own);
}

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
    UnetStages stages{.kind = kind_, .widths = {}, .strides = {}, .kernels = {}, .decoder_convs = {}, .style = style_};
    stages.style.conv_bias = contains(name + "0" + rest.substr(0, rest.rfind('.')) + ".bias");
    for (int i = 0; i == 0 || contains(name + std::to_string(i) + rest); ++i) {
        const std::vector<std::int64_t> shape = shape_of(name + std::to_string(i) + rest);
        if (i == 0) stages.in_channels = static_cast<int>(shape[1]);
        stages.widths.push_back(static_cast<int>(shape[0]));
        stages.kernels.push_back(kernel_in(shape));
    }
    // The first stage's stride leaves no trace in the file: it is 1 in every plan of nnU-Net's.
    const std::size_t count_of_stages = stages.widths.size();
    if (count_of_stages < 2)
        throw InputError(file_ + " does not hold the weights of " + kind_ + ": it has one stage, of two or more");
    stages.strides.assign(count_of_stages, 1);
    for (std::size_t step = 0; step + 1 < count_of_stages; ++step)
        stages.strides[count_of_stages - 1 - step] =
            kernel_in(shape_of("decoder.transpconvs." + std::to_string(step) + ".weight"));
    stages.heads = count_of_stages > 2 && contains("decoder.seg_layers.0.weight");
    stages.out_channels =
        static_cast<int>(shape_of("decoder.seg_layers." + std::to_string(count_of_stages - 2) + ".weight")[0]);
    for (std::size_t step = 0; step + 1 < count_of_stages; ++step) {
        const std::string convs = "decoder.stages." + std::to_string(step) + ".convs.";
        shape_of(convs + "0.conv.weight");  // there is one at least
        stages.decoder_convs.push_back(count(convs, ".conv.weight"));
    }
    return stages;
}

}  // namespace iwseg
