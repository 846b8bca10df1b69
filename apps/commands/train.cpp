#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands/commands.h"
#include "apps/config/config_table.h"
#include "apps/training/fold_runs.h"
#include "apps/training/run_context.h"
#include "apps/training/training_run.h"

namespace iwseg {
namespace {

struct TrainArguments {
    std::string data, out, config, fold, device = "auto";
    std::vector<std::string> settings;
    bool resume = false, eager = false;
    int profile = 0;
};

std::optional<std::filesystem::path> config_file(const TrainArguments& arguments) {
    if (arguments.config.empty()) return std::nullopt;
    return arguments.config;
}

void train_in(const std::filesystem::path& out, const std::vector<std::string>& settings,
              const TrainArguments& arguments) {
    const RunFolder run(out);
    const Config config = config_of_run(run, config_file(arguments), settings, arguments.resume);
    ContextOptions options = context_of_run(config, arguments.device, run);
    options.record = !arguments.eager;
    Context context(options);
    train(context, config, arguments.data, run, arguments.profile);
}

void run_train(const TrainArguments& arguments) {
    if (arguments.fold.empty()) return train_in(arguments.out, arguments.settings, arguments);
    for_each_fold({arguments.fold, arguments.data, arguments.out, config_file(arguments), arguments.settings},
                  [&](const auto& out, const auto& settings) { train_in(out, settings, arguments); });
}

}  // namespace

void add_train_command(CLI::App& app) {
    auto arguments = std::make_shared<TrainArguments>();
    CLI::App* command = app.add_subcommand("train", "Train a network on a dataset's patches");
    command->add_option("--data", arguments->data, "dataset folder (nnU-Net v2 or Decathlon layout)")->required();
    command->add_option("--out", arguments->out, "run folder to make or to go on with")->type_name("RUN")->required();
    command->add_option("--config", arguments->config, "TOML file; every key has a default");
    command->add_option("--set", arguments->settings, "one key=value over the config, may be repeated")
        ->allow_extra_args(false);
    command->add_option("--fold", arguments->fold, "of splits_final.json, into OUT/fold_K; all: one after another")
        ->type_name("K|all");
    command->add_flag("--resume", arguments->resume,
                      "go on from the newest checkpoint in --out, or start where none is");
    command->add_option("--profile", arguments->profile, "time so many steps kernel by kernel into profile.json")
        ->check(CLI::Range(1, 1000));
    command->add_flag(
        "--eager", arguments->eager,
        "on a GPU: queue kernels one by one, not as one CUDA graph, and wait for each step of the plan, so that a "
        "failure names it; for debugging");
    command->add_option("--device", arguments->device, "auto, cpu or cuda");
    add_keys_flag(*command);
    command->footer(
        "Example:\n  iwseg train --data lesions --out runs/iwdl --set patch=64\n"
        "  iwseg train --data lesions --out runs/small --set 'widths=[8, 16, 32, 64]'\n"
        "  iwseg train --data lesions --out runs/iwdl --resume");
    command->callback([arguments] { run_train(*arguments); });
}

}  // namespace iwseg
