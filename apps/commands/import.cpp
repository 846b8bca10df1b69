#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/commands/commands.h"
#include "apps/terminal/progress.h"
#include "base/error.h"
#include "import/network_import.h"
#include "nnunet/model.h"

namespace iwseg {
namespace {

struct ImportArguments {
    std::string kind, folds, checkpoint = "checkpoint_final";
    std::filesystem::path model, out;
    // Of monai and original.
    std::string intensity = "zscore", axes = "xyz", activation;
    std::int64_t patch = 96, stride = 0;
    std::vector<std::string> strides;
    bool group_norm = false;
    int groups = 8;
};

Intensity intensity_named(const std::string& text) {
    if (text == "none") return {Intensity::Kind::none};
    if (text == "zscore") return {Intensity::Kind::zscore};
    const std::size_t comma = text.find(',');
    char *low_end = nullptr, *high_end = nullptr;
    const double low = std::strtod(text.c_str(), &low_end);
    const double high = comma == std::string::npos ? 0 : std::strtod(text.c_str() + comma + 1, &high_end);
    if (comma == std::string::npos || low_end != text.c_str() + comma || *high_end != '\0' || !(low < high))
        throw InputError("--intensity " + text + ": expected none, zscore or a window LOW,HIGH with LOW below HIGH");
    return {Intensity::Kind::window, low, high};
}

/// "2" or "2x2x1".
Sides stride_named(const std::string& text) {
    const auto digit = [&](std::size_t i) {
        if (text[i] < '1' || text[i] > '7')
            throw InputError("--strides " + text + ": expected for each level 1 to 7 voxels, as 2, or three as 2x2x1");
        return text[i] - '0';
    };
    if (text.size() == 1) return digit(0);
    if (text.size() != 5 || text[1] != 'x' || text[3] != 'x')
        throw InputError("--strides " + text + ": expected for each level 1 to 7 voxels, as 2, or three as 2x2x1");
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
    ImportOptions options;
    options.settings.intensity = intensity_named(arguments.intensity);
    options.settings.grid.patch = arguments.patch;
    options.settings.grid.stride =
        arguments.stride > 0 ? arguments.stride : std::max<std::int64_t>(1, arguments.patch * 3 / 4);
    require_usable(options.settings.grid, "--patch", "--stride");
    if (arguments.axes != "xyz" && arguments.axes != "zyx")
        throw InputError("--axes " + arguments.axes + ": expected xyz or zyx");
    options.from_zyx = arguments.axes == "zyx";
    for (const std::string& text : arguments.strides) options.strides.push_back(stride_named(text));
    if (!arguments.activation.empty()) options.activation = monai_activation_named(arguments.activation);
    options.group_norm = arguments.group_norm;
    options.groups = arguments.groups;
    const Imported done = arguments.kind == "monai" ? import_monai(arguments.model, arguments.out, options)
                                                    : import_original(arguments.model, arguments.out, options);
    fmt::print("network  {} of {} in and {} out, {} parameters{}\n", done.network, done.in_channels, done.out_channels,
               count_text(done.parameters),
               done.left_out > 0 ? fmt::format("; {} arrays that are not its own are left out", done.left_out) : "");
    fmt::print("reads    intensity {}, patches of {} every {} voxels\n", arguments.intensity, arguments.patch,
               options.settings.grid.stride);
    fmt::print("written  {}\n", arguments.out.string());
}

void run_import(const ImportArguments& arguments) {
    if (arguments.kind == "nnunet") return import_nnunet(arguments);
    if (arguments.kind == "monai" || arguments.kind == "original") return import_checkpoint(arguments);
    throw InputError("import takes models of nnunet, monai or original, not of " + arguments.kind);
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
    command->add_option("--folds", arguments->folds, "nnunet: as 0,1 or all (default: those that there are)")
        ->type_name("K,K|all");
    command->add_option("--checkpoint", arguments->checkpoint, "nnunet: which of a fold's files")->type_name("NAME");
    const auto add = [&](const std::string& flag, auto& value, const std::string& what, const std::string& type) {
        command->add_option(flag, value, "monai, original: " + what)->type_name(type)->capture_default_str();
    };
    add("--intensity", arguments->intensity, "what a scan's values become: none, zscore or LOW,HIGH", "WHAT");
    add("--patch", arguments->patch, "voxels along each axis that are predicted at once", "N");
    command->add_option("--stride", arguments->stride, "monai, original: from patch to patch (default: 3/4 of it)");
    command
        ->add_option("--axes", arguments->axes,
                     "monai: an image's, where it was trained: xyz (LoadImage's, and as here) or zyx")
        ->capture_default_str();
    command->add_option("--strides", arguments->strides, "monai: a UNet's, level by level (default: 2), as 2x2x1 2 2")
        ->type_name("N|NxNxN");
    command->add_option("--activation", arguments->activation,
                        "monai: relu or leaky_relu, where there are no learned slopes (default: relu)");
    command->add_flag("--group-norm", arguments->group_norm, "monai: a UNet's norms are GroupNorm, not InstanceNorm");
    command->add_option("--groups", arguments->groups, "monai: of GroupNorm")->capture_default_str();
    command->footer(
        "Example:\n  iwseg import nnunet nnUNetTrainer__nnUNetPlans__3d_fullres --out model\n"
        "  iwseg import monai best_metric_model.pt --intensity -57,164 --out weights.safetensors\n"
        "iwseg predict --model takes either of nnunet's folders, iwseg predict --weights the file.");
    command->callback([arguments] { run_import(*arguments); });
}

}  // namespace iwseg
