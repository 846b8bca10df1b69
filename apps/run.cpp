#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/experiment_run.h"
#include "apps/prediction_run.h"
#include "apps/report.h"
#include "apps/training_run.h"

namespace iwseg {
namespace {

struct RunArguments {
    std::string data, out, config, device = "auto";
    std::vector<std::string> settings;
};

void run_run(const RunArguments& arguments) {
    const RunFolder run(arguments.out);
    const Config config = config_of_run(run, arguments.config, arguments.settings, true);
    Context context({.device = arguments.device, .threads = config.threads, .deterministic = config.deterministic});
    run_experiment(context, config, arguments.data, run);
    if (!is_newer(run.report(), run.records())) write_report(arguments.data, {{config.loss, run.root()}}, run.report());
    fmt::print("report   {}\n", run.report().string());
}

}  // namespace

void add_run_command(CLI::App& app) {
    auto arguments = std::make_shared<RunArguments>();
    CLI::App* command = app.add_subcommand("run", "Train, predict, evaluate and report; what is there already is skipped");
    command->add_option("--data", arguments->data, "dataset folder")->required();
    command->add_option("--config", arguments->config, "TOML file of the experiment")->required();
    command->add_option("--out", arguments->out, "run folder to make or to go on with")->required();
    command->add_option("--set", arguments->settings, "one key=value over the config, may be repeated")
        ->allow_extra_args(false);
    command->add_option("--device", arguments->device, "auto, cpu or cuda");
    command->footer("Example:\n  iwseg run --data lesions --config configs/ms_lesions.toml --out runs/iwdl");
    command->callback([arguments] { run_run(*arguments); });
}

}  // namespace iwseg
