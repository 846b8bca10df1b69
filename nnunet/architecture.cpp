#include "nnunet/architecture.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "models/plain_unet.h"
#include "models/residual_encoder_unet.h"

namespace iwseg::nnunet {
namespace {

constexpr int kMostStages = 16, kMostWidth = 1 << 14, kMostConvs = 64, kMostSide = 7;
constexpr double kMostWeights = 0x1p31;

/// "torch.nn.modules.conv.Conv3d" is Conv3d.
std::string last_name(const std::string& name) {
    return name.substr(name.rfind('.') + 1);
}

[[noreturn]] void refuse_argument(const Keys& arguments, const std::string& key) {
    arguments.refuse(key, "none: this argument is not supported");
}

/// Keyword arguments that are looked at. Of others only those that say nothing are taken.
void require_known(const Keys& arguments, const std::vector<std::string>& known) {
    for (const auto& [key, value] : arguments.json().items()) {
        const bool says_nothing = value.is_null() || value == false || (value.is_object() && value.empty());
        if (std::find(known.begin(), known.end(), key) == known.end() && !says_nothing) refuse_argument(arguments, key);
    }
}

/// A list with a number a stage, or one number for all.
std::vector<int> counts(const Keys& arguments, const std::string& key, std::size_t stages, int most) {
    if (arguments.at(key).is_number()) return std::vector<int>(stages, arguments.integer(key, 1, most));
    std::vector<int> all = arguments.integers(key, 1, most);
    if (all.size() != stages) arguments.refuse(key, fmt::format("{} numbers, one a stage", stages));
    return all;
}

std::vector<Sides> stage_sides(const Keys& arguments, const std::string& key, std::size_t stages) {
    if (arguments.at(key).is_number()) return std::vector<Sides>(stages, arguments.integer(key, 1, kMostSide));
    std::vector<Sides> all = arguments.sides(key, 1, kMostSide);
    if (all.size() != stages) arguments.refuse(key, fmt::format("{} of them, one a stage", stages));
    return all;
}

/// Throws where convolutions of these stages alone have more weights than anybody trains.
void require_sensible(const Keys& arguments, const std::vector<int>& widths, const std::vector<Sides>& kernels,
                      const std::vector<int>& convs) {
    double weights = 0;
    for (std::size_t i = 0; i < widths.size(); ++i)
        weights += double{1} * widths[i] * widths[i] * kernels[i].product() * convs[i];
    if (weights > kMostWeights) arguments.refuse("features_per_stage", "stages of fewer than 2^31 weights");
}

UnetStyle read_style(const Keys& arguments) {
    UnetStyle style;
    if (const std::string conv = arguments.text("conv_op"); last_name(conv) != "Conv3d")
        arguments.refuse("conv_op", "torch.nn.modules.conv.Conv3d: networks of two dimensions are not supported");
    style.conv_bias = arguments.contains("conv_bias") && arguments.boolean("conv_bias");
    if (!arguments.contains("norm_op") || last_name(arguments.text("norm_op")) != "InstanceNorm3d")
        arguments.refuse("norm_op", "torch.nn.modules.instancenorm.InstanceNorm3d");
    if (arguments.contains("norm_op_kwargs")) {
        const Keys norm = arguments.object("norm_op_kwargs");
        require_known(norm, {"eps", "affine", "momentum"});
        if (norm.contains("eps")) style.epsilon = static_cast<float>(norm.real("eps"));
        if (!norm.contains("affine") || !norm.boolean("affine"))
            arguments.refuse("norm_op_kwargs", "affine = true: norms without scale and shift are not supported");
    } else {
        arguments.refuse("norm_op_kwargs", "affine = true: norms without scale and shift are not supported");
    }
    const std::string activation = arguments.contains("nonlin") ? last_name(arguments.text("nonlin")) : "none";
    if (activation == "ReLU")
        style.slope = 0;
    else if (activation != "LeakyReLU")
        arguments.refuse("nonlin", "torch.nn.LeakyReLU or torch.nn.ReLU");
    if (arguments.contains("nonlin_kwargs")) {
        const Keys nonlin = arguments.object("nonlin_kwargs");
        require_known(nonlin, {"inplace", "negative_slope"});
        if (nonlin.contains("negative_slope")) style.slope = static_cast<float>(nonlin.real("negative_slope"));
    }
    return style;
}

Network make(const std::string& name, const Keys& arguments, int in_channels, int out_channels) {
    const auto stages = static_cast<std::size_t>(arguments.integer("n_stages", 2, kMostStages));
    const std::vector<int> widths = counts(arguments, "features_per_stage", stages, kMostWidth);
    const std::vector<Sides> strides = stage_sides(arguments, "strides", stages),
                             kernels = stage_sides(arguments, "kernel_sizes", stages);
    const std::vector<int> decoder = counts(arguments, "n_conv_per_stage_decoder", stages - 1, kMostConvs);
    std::vector<std::string> known{"n_stages",
                                   "features_per_stage",
                                   "strides",
                                   "kernel_sizes",
                                   "conv_op",
                                   "conv_bias",
                                   "norm_op",
                                   "norm_op_kwargs",
                                   "nonlin",
                                   "nonlin_kwargs",
                                   "n_conv_per_stage_decoder",
                                   "deep_supervision"};
    const bool residual = name == "ResidualEncoderUNet";
    known.push_back(residual ? "n_blocks_per_stage" : "n_conv_per_stage");
    require_known(arguments, known);
    const std::vector<int> convs = counts(arguments, known.back(), stages, kMostConvs);
    for (const Sides& kernel : kernels)
        for (const int side : {kernel.d, kernel.h, kernel.w})
            if (side % 2 == 0) arguments.refuse("kernel_sizes", "sides of 1, 3, 5 or 7 voxels");
    require_sensible(arguments, widths, kernels, convs);
    const UnetStyle style = read_style(arguments);
    if (residual)
        return residual_encoder_unet({in_channels, out_channels, widths, strides, kernels, convs, decoder, style});
    return plain_unet({in_channels, out_channels, widths, strides, kernels, convs, decoder, style});
}

/// What plans said before they had "architecture", in the words that they have now.
Keys::Json arguments_of_old_plans(const Keys& configuration) {
    const int base = configuration.integer("UNet_base_num_features", 1, kMostWidth),
              most = configuration.integer("unet_max_num_features", 1, kMostWidth);
    const std::size_t stages = configuration.integers("n_conv_per_stage_encoder", 1, kMostConvs).size();
    std::vector<int> widths;
    for (std::size_t i = 0; i < stages; ++i)
        widths.push_back(
            static_cast<int>(std::min<std::int64_t>(std::int64_t{base} << std::min<std::size_t>(i, 30), most)));
    const bool residual = configuration.text("UNet_class_name") == "ResidualEncoderUNet";
    return {{"n_stages", stages},
            {"features_per_stage", widths},
            {"conv_op", "torch.nn.modules.conv.Conv3d"},
            {"kernel_sizes", configuration.at("conv_kernel_sizes")},
            {"strides", configuration.at("pool_op_kernel_sizes")},
            {residual ? "n_blocks_per_stage" : "n_conv_per_stage", configuration.at("n_conv_per_stage_encoder")},
            {"n_conv_per_stage_decoder", configuration.at("n_conv_per_stage_decoder")},
            {"conv_bias", true},
            {"norm_op", "torch.nn.modules.instancenorm.InstanceNorm3d"},
            {"norm_op_kwargs", {{"eps", 1e-5}, {"affine", true}}},
            {"nonlin", "torch.nn.LeakyReLU"}};
}

void require_supported(const Keys& keys, const std::string& key) {
    const std::string name = last_name(keys.text(key));
    if (name != "PlainConvUNet" && name != "ResidualEncoderUNet")
        keys.refuse(key, "PlainConvUNet or ResidualEncoderUNet: other architectures are not supported");
}

}  // namespace

Network read_architecture(const Keys& configuration, int in_channels, int out_channels) {
    if (configuration.contains("architecture")) {
        const Keys architecture = configuration.object("architecture");
        require_supported(architecture, "network_class_name");
        return make(last_name(architecture.text("network_class_name")), architecture.object("arch_kwargs"), in_channels,
                    out_channels);
    }
    require_supported(configuration, "UNet_class_name");
    const Keys::Json arguments = arguments_of_old_plans(configuration);
    return make(configuration.text("UNet_class_name"), Keys(arguments, configuration.file(), configuration.way_to("")),
                in_channels, out_channels);
}

}  // namespace iwseg::nnunet
