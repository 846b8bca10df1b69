#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/commands.h"
#include "apps/dataset_notes.h"
#include "apps/prediction_run.h"
#include "engine/folder.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

struct PredictArguments {
    std::string run, weights, config, data, out, device = "auto";
    std::vector<std::string> cases, save{"mask", "prob", "logit"};
    std::vector<fs::path> input;
    std::int64_t patch = 0, stride = 0;
    std::optional<double> threshold, min_volume;
};

/// Refused before any file is looked at where out of range.
MaskOptions mask_options(const PredictArguments& arguments) {
    MaskOptions masks{arguments.threshold, arguments.min_volume};
    const MaskRules checked({std::nullopt}, masks);
    if (!arguments.run.empty()) masks.own_test_scans = own_test_scans(arguments.run);
    return masks;
}

PredictionOptions prediction_options(const PredictArguments& arguments, const Config& config) {
    PredictionOptions options;
    options.out = arguments.out;
    options.mask = options.probability = options.logit = false;
    for (const std::string& what : arguments.save) {
        bool* chosen = what == "mask" ? &options.mask : what == "prob" ? &options.probability
                                                    : what == "logit"  ? &options.logit : nullptr;
        if (!chosen) throw InputError("--save " + what + " is unknown: expected mask, prob or logit");
        *chosen = true;
    }
    options.patch = arguments.patch > 0 ? arguments.patch : config.predict.patch;
    options.stride = arguments.stride > 0  ? arguments.stride
                     : arguments.patch > 0 ? std::max<std::int64_t>(options.patch * 9 / 10, 1)  // as 144 is of 160
                                           : config.predict.stride;
    return options;
}

void run_predict(const PredictArguments& arguments) {
    if (arguments.run.empty() == arguments.weights.empty())
        throw InputError("predict needs either --run RUN or --weights FILE");
    if (arguments.data.empty() == arguments.input.empty())
        throw InputError("predict needs either --data DATASET or --input FILE...");
    if (!arguments.cases.empty() && arguments.data.empty()) throw InputError("--cases needs --data");
    const MaskOptions masks = mask_options(arguments);
    const fs::path run = arguments.run;
    const fs::path weights = run.empty() ? fs::path(arguments.weights) : run / "model.safetensors";
    if (!run.empty()) require_folder(run, "run folder");
    if (!run.empty() && !fs::exists(weights))
        throw InputError("the run " + run.string() + " has no model.safetensors: its training has not ended");
    std::optional<fs::path> config;
    if (!arguments.config.empty()) config = arguments.config;
    else if (!run.empty()) config = run / "config.toml";
    TrainedNetwork network = open_network(weights, config);
    PredictionOptions options = prediction_options(arguments, network.config);
    options.masks = masks;
    Context context({.device = arguments.device, .threads = network.config.threads});
    const Dataset dataset =
        arguments.data.empty() ? dataset_of_files(arguments.input, network) : open_dataset(arguments.data);
    const std::vector<Case> cases =
        choose_cases(dataset, arguments.cases, run.empty() || arguments.data.empty() ? fs::path() : run / "split.json");
    fmt::print("device   {}\n", context.description());
    print_notes(dataset);
    if (!network.configured)
        fmt::print("weights  {} says nothing of intensities: scans are taken as they are\n", weights.string());
    predict_cases(context, network, dataset, cases, options);
    fmt::print("written  {}\n", options.out.string());
}

}  // namespace

void add_predict_command(CLI::App& app) {
    auto arguments = std::make_shared<PredictArguments>();
    CLI::App* command = app.add_subcommand("predict", "Predict whole scans by a grid of overlapping patches");
    command->add_option("--run", arguments->run, "run folder of a finished training");
    command->add_option("--weights", arguments->weights, "safetensors file of the network's weights");
    command->add_option("--config", arguments->config, "TOML file that tells how scans are read");
    command->add_option("--data", arguments->data, "dataset folder");
    command->add_option("--cases", arguments->cases, "names, by commas; else the run's test cases, or all")
        ->delimiter(',')->allow_extra_args(false);
    command->add_option("--input", arguments->input, "files of one scan, one a channel");
    command->add_option("--out", arguments->out, "folder of the results")->required();
    command->add_option("--save", arguments->save, "which of mask,prob,logit (default: all)")
        ->delimiter(',')->allow_extra_args(false);
    command->add_option("--threshold", arguments->threshold, "probability above which masks are lesion (default: that chosen on validation scans, or 0.5)");
    command->add_option("--min-volume", arguments->min_volume, "mm³ of the smallest component that masks keep (default: as --threshold, or 0)");
    command->add_option("--patch", arguments->patch, "voxels along each side of a patch")->check(CLI::PositiveNumber);
    command->add_option("--stride", arguments->stride, "voxels from patch to patch (default: 9/10 of --patch)")
        ->check(CLI::PositiveNumber);
    command->add_option("--device", arguments->device, "auto, cpu or cuda");
    command->footer(
        "Examples:\n  iwseg predict --run runs/iwdl --data lesions --out runs/iwdl/predictions\n"
        "  iwseg predict --weights model.safetensors --input scan.nii.gz --out masks \\\n"
        "      --save mask");
    command->callback([arguments] { run_predict(*arguments); });
}

}  // namespace iwseg
