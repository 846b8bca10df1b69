#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands/commands.h"
#include "apps/experiments/experiment_run.h"
#include "apps/experiments/experiments.h"
#include "apps/training/fold_runs.h"
#include "apps/training/run_context.h"
#include "apps/training/training_run.h"
#include "base/error.h"

namespace iwseg {
namespace {

struct RunArguments {
    std::string data, out, config, configs, fold, device = "auto";
    std::vector<std::string> settings;
    int index = -1, processes = 1;
};

void run_in(const std::filesystem::path& out, const std::vector<std::string>& settings, const RunArguments& arguments) {
    const RunFolder run(out);
    const Config config = config_of_run(run, arguments.config, settings, true);
    Context context(context_of_run(config, arguments.device, run));
    run_experiment(context, config, arguments.data, run);
    write_report_of_run(config.loss, arguments.data, run);
    fmt::print("report   {}\n", run.report().string());
}

void run_run(const RunArguments& arguments) {
    if (!arguments.configs.empty())
        return run_experiments({arguments.data, arguments.configs, arguments.out, arguments.settings, arguments.device,
                                arguments.index, arguments.processes});
    if (arguments.fold.empty()) return run_in(arguments.out, arguments.settings, arguments);
    std::vector<std::filesystem::path> runs;
    for_each_fold({arguments.fold, arguments.data, arguments.out, arguments.config, arguments.settings},
                  [&](const auto& out, const auto& settings) {
                      run_in(out, settings, arguments);
                      runs.push_back(out);
                  });
    if (arguments.fold == "all") pool_records(arguments.out, runs);
}

}  // namespace

void add_run_command(CLI::App& app) {
    auto arguments = std::make_shared<RunArguments>();
    CLI::App* command =
        app.add_subcommand("run", "Train, predict, evaluate and report; what is there already is skipped");
    command->add_option("--data", arguments->data, "dataset folder")->required();
    auto* one = command->add_option("--config", arguments->config, "TOML file of the experiment");
    auto* many =
        command->add_option("--configs", arguments->configs, "folder of TOML files: all of them, then one table");
    one->excludes(many);
    command
        ->add_option("--out", arguments->out, "run folder to make or to go on with; with --configs, the folder of them")
        ->type_name("RUN")
        ->required();
    auto* index =
        command->add_option("--index", arguments->index, "only that one of --configs, from 0, as in a job array")
            ->needs(many)
            ->check(CLI::NonNegativeNumber);
    command
        ->add_option("--processes", arguments->processes, "run so many of --configs at once, on GPUs each on its own")
        ->needs(many)
        ->excludes(index)
        ->check(CLI::Range(1, 64));
    command
        ->add_option("--fold", arguments->fold,
                     "of splits_final.json, into OUT/fold_K; all: one after another, their records together in OUT")
        ->type_name("K|all")
        ->excludes(many);
    command->add_option("--set", arguments->settings, "one key=value over the config, may be repeated")
        ->allow_extra_args(false);
    command->add_option("--device", arguments->device, "auto, cpu or cuda");
    command->footer(
        "Example:\n  iwseg run --data lesions --config configs/ms_lesions/iwdl.toml --out runs/iwdl\n"
        "  iwseg run --data luna16 --configs configs/luna16 --out runs/luna16");
    command->callback([arguments] {
        if (arguments->config.empty() && arguments->configs.empty())
            throw InputError("run needs --config FILE for one experiment or --configs FOLDER for several");
        run_run(*arguments);
    });
}

}  // namespace iwseg
