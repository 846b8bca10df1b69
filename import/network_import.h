#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device/view.h"
#include "models/monai_style.h"
#include "models/prediction_settings.h"

namespace iwseg {

/// What no checkpoint says of the network that it is of.
struct ImportOptions {
    PredictionSettings settings = {};  ///< how scans are read for it, and the grid
    /// What the network's names begin with, as "ema", where the file holds several.
    std::optional<std::string> prefix = {};
    // Of MONAI's networks; what is not given is assumed, and said.
    /// Images were given to the network as z, y, x; else as x, y, z, which is MONAI's order and that of scans here.
    /// Kernels and strides are turned.
    std::optional<bool> from_zyx = {};
    std::vector<Sides> strides = {};  ///< of a UNet's levels but the deepest, axes as in training; empty: 2
    /// Where there are no learned slopes, which say that it is PReLU; none: ReLU, a BasicUNet's LeakyReLU.
    std::optional<MonaiStyle::Activation> activation = {};
    std::optional<float> slope = {};  ///< of LeakyReLU, from 0 to below 1; none: 0.01, a BasicUNet's 0.1
    /// instance, group or none, where no running statistics say that it is BatchNorm; none: InstanceNorm,
    /// a SegResNet's GroupNorm.
    std::optional<MonaiStyle::Norm> norm = {};
    std::optional<int> groups = {};  ///< of GroupNorm; none: 8, that of MONAI's SegResNet
};

/// What was written.
struct Imported {
    std::string network;  ///< its name, as in a configuration
    int in_channels = 0, out_channels = 0;
    std::int64_t parameters = 0;  ///< learned ones
    std::int64_t left_out = 0;    ///< arrays of the checkpoint that are not the network's: of a loss, an optimizer
    std::vector<std::string> assumed = {};  ///< what neither the checkpoint nor the options say: "strides 2 2"
    int levels = 0;                         ///< of its widths
};

/// Turns a state_dict that torch.save wrote (by itself, or under state_dict, model, model_state_dict, net, network or
/// network_weights) into a weights file. Names before a network's own ("module.", "net.") are cut off. Throws
/// InputError, naming the file, where it holds no such network's arrays, or several networks' and no prefix is given,
/// or one of them is missing or of another shape; and naming the command's flag of an option that does not apply.
///
/// import_monai: UNet, BasicUNet and SegResNet of three dimensions. import_original: the residual U-Net of the study.
Imported import_monai(const std::filesystem::path& checkpoint, const std::filesystem::path& out,
                      const ImportOptions& options);
Imported import_original(const std::filesystem::path& checkpoint, const std::filesystem::path& out,
                         const ImportOptions& options);

}  // namespace iwseg
