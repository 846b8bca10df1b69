#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "apps/commands/commands.h"
#include "apps/commands/finite.h"
#include "apps/terminal/progress.h"
#include "base/error.h"
#include "import/network_import.h"
#include "models/unet_stages.h"
#include "nnunet/model.h"

namespace iwseg {
namespace {

struct ImportArguments {
    std::string kind, folds, checkpoint = "checkpoint_final";
    std::filesystem::path model, out;
    // Of monai and original.
    std::optional<std::string> intensity, axes;
    std::string activation, norm;
    std::int64_t patch = 96;
    std::optional<std::int64_t> stride;
    std::optional<std::string> prefix;
    std::vector<std::string> strides;
    std::optional<float> slope;
    std::optional<int> groups;
};

/// Whose models a flag is for.
struct FlagOf {
    const char* flag;
    std::vector<std::string> kinds;
};
const std::vector<FlagOf>& flags() {
    static const std::vector<FlagOf> all{{"--folds", {"nnunet"}},
                                         {"--checkpoint", {"nnunet"}},
                                         {"--intensity", {"monai", "original"}},
                                         {"--patch", {"monai", "original"}},
                                         {"--stride", {"monai", "original"}},
                                         {"--prefix", {"monai", "original"}},
                                         {"--axes", {"monai"}},
                                         {"--strides", {"monai"}},
                                         {"--activation", {"monai"}},
                                         {"--slope", {"monai"}},
                                         {"--norm", {"monai"}},
                                         {"--groups", {"monai"}}};
    return all;
}

/// A window's end: as a float, which scans are read as, it is finite.
bool reads_end(std::string_view text, double& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() &&
           std::abs(value) <= double{std::numeric_limits<float>::max()};
}

Intensity intensity_named(const std::string& text) {
    if (text == "none") return {Intensity::Kind::none};
    if (text == "zscore") return {Intensity::Kind::zscore};
    const std::size_t comma = std::min(text.find(','), text.size());
    double low = 0, high = 0;
    if (comma == text.size() || !reads_end(std::string_view(text).substr(0, comma), low) ||
        !reads_end(std::string_view(text).substr(comma + 1), high) || !(low < high))
        throw InputError("--intensity " + text +
                         ": expected none, zscore or a window LOW,HIGH of two finite numbers with LOW below HIGH");
    return {Intensity::Kind::window, low, high};
}

/// "2" or "2x2x1".
Sides stride_named(const std::string& text) {
    const auto is_side = [](char letter) { return letter >= '1' && letter <= '0' + kMostSide; };
    const auto digit = [&](std::size_t i) { return text[i] - '0'; };
    if (text.size() == 1 && is_side(text[0])) return digit(0);
    if (text.size() != 5 || text[1] != 'x' || text[3] != 'x' || !is_side(text[0]) || !is_side(text[2]) ||
        !is_side(text[4]))
        throw InputError(fmt::format("--strides {}: expected for each level 1 to {} voxels, as 2, or three as 2x2x1",
                                     text, kMostSide));
    return {digit(0), digit(2), digit(4)};
}

void import_nnunet(const ImportArguments& arguments) {
    const nnunet::Model model = nnunet::open_model(arguments.model, {arguments.folds, arguments.checkpoint});
    const std::int64_t parameters = nnunet::import_model(model, arguments.out);
    fmt::print("model    {}, {}, {} parameters in each of {}\n", model.notes.configuration, model.plans.network.name,
               count_text(parameters), fmt::join(model.folds, ", "));
    fmt::print("written  {}\n", arguments.out.string());
}

void import_checkpoint(const ImportArguments& arguments) {
    const std::string intensity = arguments.intensity.value_or("zscore");
    ImportOptions options;
    options.prefix = arguments.prefix;
    options.settings.intensity = intensity_named(intensity);
    options.settings.grid = {.patch = arguments.patch, .stride = 1};
    require_usable(options.settings.grid, "--patch", "--stride");
    options.settings.grid.stride = arguments.stride.value_or(arguments.patch * 3 / 4);
    require_usable(options.settings.grid, "--patch", "--stride");
    if (arguments.axes) {
        if (*arguments.axes != "xyz" && *arguments.axes != "zyx")
            throw InputError("--axes " + *arguments.axes + ": expected xyz or zyx");
        options.from_zyx = *arguments.axes == "zyx";
    }
    for (const std::string& text : arguments.strides) options.strides.push_back(stride_named(text));
    if (!arguments.activation.empty()) {
        options.activation = monai_activation_named(arguments.activation);
        if (!options.activation)
            throw InputError("--activation " + arguments.activation + ": expected prelu, relu or leaky_relu");
    }
    if (!arguments.norm.empty()) {
        options.norm = monai_norm_named(arguments.norm);
        if (!options.norm || options.norm == MonaiStyle::Norm::batch)
            throw InputError("--norm " + arguments.norm + ": expected instance, group or none");
    }
    options.slope = arguments.slope;
    options.groups = arguments.groups;
    const Imported done = arguments.kind == "monai" ? import_monai(arguments.model, arguments.out, options)
                                                    : import_original(arguments.model, arguments.out, options);
    fmt::print("network  {} of {} in and {} out, {} parameters{}\n", done.network, done.in_channels, done.out_channels,
               count_text(done.parameters),
               done.left_out > 0 ? fmt::format("; {} arrays that are not its own are left out", done.left_out) : "");
    fmt::print("reads    intensity {}, patches of {} every {} voxels\n", intensity, arguments.patch,
               options.settings.grid.stride);
    std::vector<std::string> assumed = done.assumed;
    if (!arguments.intensity) assumed.push_back("intensity " + intensity);
    if (!assumed.empty()) fmt::print("assumed  {}\n", fmt::join(assumed, ", "));
    if (done.out_channels != 1)
        fmt::print("note     it has {} output channels: iwseg predict takes networks of one\n", done.out_channels);
    fmt::print("written  {}\n", arguments.out.string());
}

void run_import(const CLI::App& command, const ImportArguments& arguments) {
    const std::string& kind = arguments.kind;
    if (kind != "nnunet" && kind != "monai" && kind != "original")
        throw InputError("import takes models of nnunet, monai or original, not of " + kind);
    for (const FlagOf& one : flags())
        if (command.count(one.flag) > 0 && std::find(one.kinds.begin(), one.kinds.end(), kind) == one.kinds.end())
            throw InputError(fmt::format("{} does not apply to import {}: it is of {}", one.flag, kind,
                                         fmt::join(one.kinds, " and ")));
    if (kind == "nnunet") return import_nnunet(arguments);
    import_checkpoint(arguments);
}

}  // namespace

void add_import_command(CLI::App& app) {
    auto arguments = std::make_shared<ImportArguments>();
    CLI::App* command = app.add_subcommand("import", "Turn another program's model into safetensors, without Python");
    command->add_option("kind", arguments->kind, "whose model it is: nnunet, monai or original")->required();
    command
        ->add_option("model", arguments->model,
                     "nnunet: results folder (plans.json, dataset.json, fold_K/checkpoint_final.pth); monai, original: "
                     "file of a state_dict")
        ->required();
    command->add_option("-o,--out", arguments->out, "folder of the result, new or empty; else a file .safetensors")
        ->required();
    const auto add = [&](const std::string& flag, auto& value, const std::string& what, const std::string& type) {
        std::string kinds;
        for (const FlagOf& one : flags())
            if (one.flag == flag) kinds = fmt::format("{}", fmt::join(one.kinds, ", "));
        return command->add_option(flag, value, kinds + ": " + what)->type_name(type);
    };
    add("--folds", arguments->folds, "as 0,1 or all (default: those that there are)", "K,K|all");
    add("--checkpoint", arguments->checkpoint, "which of a fold's files", "NAME");
    add("--intensity", arguments->intensity, "what a scan's values become: none, zscore or LOW,HIGH (default: zscore)",
        "WHAT");
    add("--patch", arguments->patch, "voxels along each axis that are predicted at once", "N")->capture_default_str();
    add("--stride", arguments->stride, "from patch to patch (default: 3/4 of it)", "N");
    add("--prefix", arguments->prefix, "what the network's names begin with, where the file holds several", "NAME");
    add("--axes", arguments->axes, "an image's, where it was trained: xyz (LoadImage's, the default) or zyx", "AXES");
    add("--strides", arguments->strides, "a UNet's, level by level (default: 2), as 2x2x1 2 2", "N|NxNxN");
    add("--activation", arguments->activation,
        "relu or leaky_relu, where there are no learned slopes (default: relu, a BasicUNet's leaky_relu)", "NAME");
    add("--slope", arguments->slope, "of leaky_relu (default: 0.01, a BasicUNet's 0.1)", "X")->check(finite());
    add("--norm", arguments->norm, "instance, group or none, unless BatchNorm (default: instance, a SegResNet's group)",
        "NAME");
    add("--groups", arguments->groups, "of GroupNorm (default: 8)", "N");
    command->footer(
        "Example:\n  iwseg import nnunet nnUNetTrainer__nnUNetPlans__3d_fullres --out model\n"
        "  iwseg import monai best_metric_model.pt --intensity -57,164 --out weights.safetensors\n"
        "iwseg predict --model takes either of nnunet's folders, iwseg predict --weights the file.");
    command->callback([command, arguments] { run_import(*command, *arguments); });
}

}  // namespace iwseg
