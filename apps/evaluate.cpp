#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/evaluation_run.h"

namespace iwseg {

void add_evaluate_command(CLI::App& app) {
    auto options = std::make_shared<EvaluationOptions>();
    CLI::App* command = app.add_subcommand("evaluate", "Judge predictions lesion by lesion");
    command->add_option("--data", options->dataset, "dataset folder")->required();
    command->add_option("--predictions", options->predictions, "folder of CASE_prob.nii.gz and CASE_logit.nii.gz")
        ->required();
    command->add_option("--out", options->out, "records.json to write")->required();
    command->add_option("--cases", options->cases, "names, by commas (default: every labelled case with a prediction)")
        ->delimiter(',')
        ->allow_extra_args(false);
    command->add_option("--labels", options->labels, "label values that are lesion (default: every value above 0)")
        ->delimiter(',')
        ->allow_extra_args(false);
    command->footer(
        "A lesion is found when any detection (component of probability > 0.5) overlaps it.\n"
        "Example:\n  iwseg evaluate --data lesions --predictions runs/iwdl/predictions --out runs/iwdl/records.json");
    command->callback([options] { fmt::print("{}", evaluation_table(evaluate_cases(*options))); });
}

}  // namespace iwseg
