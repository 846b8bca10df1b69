#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/commands/commands.h"
#include "apps/prediction/ensemble.h"
#include "apps/prediction/model_run.h"
#include "apps/prediction/prediction_input.h"
#include "apps/prediction/prediction_run.h"
#include "apps/run_folder/run_files.h"
#include "apps/training/dataset_notes.h"
#include "apps/training/fold_runs.h"
#include "base/error.h"
#include "base/folder.h"
#include "data/volume/formats.h"
#include "models/grid_prediction.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

struct PredictArguments {
    std::string fold, config, data, out, ending, device = "auto";
    std::vector<fs::path> runs, weights;
    std::vector<std::string> cases, save{"mask", "prob", "logit"};
    std::vector<fs::path> input;
    std::optional<std::int64_t> patch, stride;
    std::optional<double> threshold, min_volume, step_size;
    bool mirror = false;
    ModelRun model;
};

/// Refused before any file is looked at where out of range.
MaskOptions mask_options(const PredictArguments& arguments) {
    MaskOptions masks{arguments.threshold, arguments.min_volume};
    const MaskRules checked({std::nullopt}, masks);
    return masks;
}

/// The run folders that are meant: with --fold those below the one that is named.
std::vector<fs::path> runs_of(const PredictArguments& arguments) {
    for (const fs::path& run : arguments.runs) require_folder(run, "run folder");
    if (arguments.fold.empty()) return arguments.runs;
    if (arguments.runs.size() != 1) throw InputError("--fold needs one --run, the folder that holds fold_0, fold_1, …");
    return fold_runs(arguments.fold, arguments.runs.front());
}

std::vector<TrainedNetwork> open_networks(const PredictArguments& arguments, const std::vector<fs::path>& runs) {
    std::optional<fs::path> config;
    if (!arguments.config.empty()) config = arguments.config;
    std::vector<TrainedNetwork> networks;
    for (const fs::path& run : runs) {
        const fs::path weights = RunFiles(run).model();
        require_folder(run, "run folder");
        if (!fs::exists(weights))
            throw InputError("the run " + run.string() + " has no " + weights.filename().string() +
                             ": its training has not ended");
        networks.push_back(open_network(weights, config ? *config : RunFiles(run).config()));
    }
    for (const fs::path& weights : arguments.weights) networks.push_back(open_network(weights, config));
    return networks;
}

PredictionOptions prediction_options(const PredictArguments& arguments, const Config& config) {
    PredictionOptions options;
    options.out = arguments.out;
    options.mask = options.probability = options.logit = false;
    for (const std::string& what : arguments.save) {
        bool* chosen = what == "mask"    ? &options.mask
                       : what == "prob"  ? &options.probability
                       : what == "logit" ? &options.logit
                                         : nullptr;
        if (!chosen) throw InputError("--save " + what + " is unknown: expected mask, prob or logit");
        *chosen = true;
    }
    if (!arguments.ending.empty() && !is_written(arguments.ending))
        throw InputError("--ending " + arguments.ending + " is none that can be written: expected " +
                         written_endings());
    options.ending = arguments.ending;
    options.patch = arguments.patch.value_or(config.predict.patch);
    if (arguments.step_size || arguments.mirror) {
        if (arguments.stride)
            throw InputError(
                "--stride does not go with --step-size and --mirror: these are of nnU-Net's windows, whose "
                "patches are --step-size of their side apart");
        if (const double step = arguments.step_size.value_or(0.5); !(step >= 0.01 && step <= 1))
            throw InputError(fmt::format("--step-size {:g} is not usable: expected 0.01 to 1", step));
        options.windows = WindowOptions{arguments.step_size.value_or(WindowOptions{}.step), arguments.mirror};
    }
    options.stride = arguments.stride  ? *arguments.stride
                     : arguments.patch ? std::min(options.patch, GridOptions::kMostPatch) * 9 / 10  // as 144 is of 160
                                       : config.predict.stride;
    require_usable(GridOptions{options.patch, options.stride}, arguments.patch ? "--patch" : "predict.patch",
                   arguments.stride ? "--stride" : "predict.stride");
    return options;
}

/// Which networks are averaged, and whether they would have had other patches on their own.
void print_networks(const PredictArguments& arguments, const std::vector<TrainedNetwork>& networks,
                    const PredictionOptions& options) {
    if (networks.size() < 2) return;
    std::vector<std::string> names;
    for (const TrainedNetwork& network : networks) names.push_back(network.weights.string());
    fmt::print(
        "networks {}: their {} averaged: {}\n", networks.size(),
        options.windows || !networks.front().classes.values.empty() ? "logits are" : "probabilities, and logits, are",
        fmt::join(names, ", "));
    if (const std::string note = other_grids(networks); !note.empty() && !arguments.patch)
        fmt::print("note     {}; all are predicted by {}, {}\n", note, options.patch,
                   options.windows ? fmt::format("{:g} of that apart", options.windows->step)
                                   : fmt::format("stride {}", options.stride));
}

/// Options that mean something to the one kind of network alone are refused with the other, not passed over.
void require_options(const CLI::App& command, const PredictArguments& arguments) {
    const bool model = !arguments.model.model.empty();
    const std::vector<std::string> own{"--run",  "--weights",   "--data",       "--config", "--fold",   "--ending",
                                       "--save", "--threshold", "--min-volume", "--patch",  "--stride", "--mirror"};
    const std::vector<std::string> of_models{"--folds",     "--checkpoint", "--disable-tta", "--save-probabilities",
                                             "--precision", "--threads"};
    for (const std::string& name : model ? own : of_models)
        if (command.count(name) > 0)
            throw InputError(name + (model ? " does not go with --model" : " goes with --model"));
}

void run_model(const PredictArguments& arguments) {
    if (arguments.input.empty()) throw InputError("predict --model needs --input FOLDER (or FILE...)");
    ModelRun run = arguments.model;
    run.input = arguments.input;
    run.cases = arguments.cases;
    run.out = arguments.out;
    run.device = arguments.device;
    run.step_size = arguments.step_size.value_or(run.step_size);
    predict_with_model(run);
}

void run_predict(const PredictArguments& arguments) {
    if (!arguments.model.model.empty()) return run_model(arguments);
    if (arguments.runs.empty() == arguments.weights.empty())
        throw InputError("predict needs --run RUN, --weights FILE or --model FOLDER");
    if (arguments.data.empty() == arguments.input.empty())
        throw InputError("predict needs either --data DATASET or --input FOLDER (or FILE...)");
    MaskOptions masks = mask_options(arguments);
    const std::vector<fs::path> runs = runs_of(arguments);
    std::vector<TrainedNetwork> networks = open_networks(arguments, runs);
    require_alike(networks);
    PredictionOptions options = prediction_options(arguments, networks.front().config);
    const Config& config = networks.front().config;
    Context context({.device = arguments.device, .threads = config.threads, .tf32 = config.tf32});
    const PredictionInput found = find_scans({runs, arguments.data, arguments.input, arguments.cases}, networks);
    masks.own_test_scans = found.own_test_scans;
    options.masks = masks;
    fmt::print("device   {}\n", context.description());
    print_notes(found.dataset);
    fmt::print("cases    {}\n", found.choice);
    print_networks(arguments, networks, options);
    for (const TrainedNetwork& network : networks)
        if (!network.configured)
            fmt::print("weights  {} says nothing of intensities: scans are taken as they are\n",
                       network.weights.string());
    if (options.windows)
        fmt::print("windows  {} voxels along each side, {:g} of that apart, weighted by a Gaussian{}\n",
                   networks.front().architecture.padded(options.patch), options.windows->step,
                   options.windows->mirror ? ", mirrored along all axes" : "");
    predict_cases(context, networks, found.dataset, found.cases, options);
    fmt::print("written  {}\n", options.out.string());
}

}  // namespace

void add_predict_command(CLI::App& app) {
    auto arguments = std::make_shared<PredictArguments>();
    CLI::App* command = app.add_subcommand("predict", "Predict whole scans by a grid of overlapping patches");
    command
        ->add_option("--run", arguments->runs, "run folder of a finished training; several: the mean of their networks")
        ->type_name("RUN")
        ->allow_extra_args(false);
    command->add_option("--fold", arguments->fold, "of --run: its fold_K, or all of them, the mean of their networks")
        ->type_name("K|all");
    command
        ->add_option("--weights", arguments->weights, "safetensors file of the network's weights; several: as of --run")
        ->type_name("FILE")
        ->allow_extra_args(false);
    command->add_option("--config", arguments->config, "TOML file that tells how scans are read");
    command->add_option("--data", arguments->data, "dataset folder");
    command
        ->add_option("--cases", arguments->cases,
                     "names, by commas (default: of the data trained on, those to test on; of others, all)")
        ->delimiter(',')
        ->allow_extra_args(false);
    command
        ->add_option("-i,--input", arguments->input,
                     "folder of CASE_0000.nii.gz, CASE_0001.nii.gz (a file a channel) or CASE.nii.gz, or files; " +
                         known_endings())
        ->type_name("FOLDER|FILE");
    command->add_option("-o,--out", arguments->out, "folder of the results, CASE_mask, CASE_prob and CASE_logit")
        ->required();
    command->add_option("--ending", arguments->ending, "of the results' names (default: " + default_endings() + ")")
        ->type_name("ENDING");
    command->add_option("--save", arguments->save, "which of mask,prob,logit (default: all)")
        ->delimiter(',')
        ->allow_extra_args(false);
    command->add_option("--threshold", arguments->threshold,
                        "probability above which masks are lesion (default: that chosen on validation scans, or 0.5)");
    command->add_option("--min-volume", arguments->min_volume,
                        "mm³ of the smallest component that masks keep (default: as --threshold, or 0)");
    command->add_option("--patch", arguments->patch, "voxels along each side of a patch");
    command->add_option("--stride", arguments->stride, "voxels from patch to patch (default: 9/10 of --patch)");
    command->add_option("--device", arguments->device, "auto, cpu or cuda");
    command
        ->add_option("--model", arguments->model.model,
                     "results folder with plans.json and fold_K/checkpoint_final.pth, or one that was imported")
        ->type_name("FOLDER");
    command->add_option("--folds", arguments->model.folds, "of --model, as 0,1 or all (default: those that there are)")
        ->type_name("K,K|all");
    command->add_option("--checkpoint", arguments->model.checkpoint, "of --model: which of a fold's files")
        ->type_name("NAME");
    command->add_option(
        "--step-size", arguments->step_size,
        "nnU-Net's windows in place of --stride: patches apart, as a share of their side, weighted by a "
        "Gaussian (of --model default: 0.5)");
    command->add_flag("--mirror", arguments->mirror,
                      "windows, and patches mirrored along all axes too: eight times the work");
    command->add_flag("!--disable-tta", arguments->model.mirror, "of --model: patches are not mirrored");
    command->add_flag("--save-probabilities", arguments->model.probabilities, "of --model: CASE.npz too");
    command->add_option("--precision", arguments->model.precision, "of --model: fp32 or bf16");
    command->add_option("--threads", arguments->model.threads, "of --model: that compute (0: all there are)");
    command->footer(
        "Examples:\n  iwseg predict --run runs/iwdl --data lesions --out runs/iwdl/predictions\n"
        "  iwseg predict --run runs/iwdl -i scans -o masks --save mask\n"
        "  iwseg predict --weights model.safetensors --input scan.nii.gz --out masks \\\n"
        "      --save mask\n"
        "  iwseg predict --run runs/cv --fold all --data lesions --out runs/cv/mean\n"
        "  iwseg predict --model nnUNetTrainer__nnUNetPlans__3d_fullres \\\n"
        "      -i imagesTs -o labels");
    command->callback([arguments, command] {
        require_options(*command, *arguments);
        run_predict(*arguments);
    });
}

}  // namespace iwseg
