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
    command->add_option("--out", options->out, "records.json to write")->type_name("FILE")->required();
    command->add_option("--cases", options->cases, "names, by commas (default: every labelled case with a prediction)")
        ->delimiter(',')
        ->allow_extra_args(false);
    command->add_option("--labels", options->labels, "label values that are lesion (default: all that dataset.json names)")
        ->delimiter(',')
        ->allow_extra_args(false);
    command
        ->add_option_function<std::vector<std::string>>(
            "--metrics",
            [options](const std::vector<std::string>& names) {
                const LesionwiseOptions lesionwise = options->metrics.lesionwise;
                options->metrics = metric_options(names);
                options->metrics.lesionwise = lesionwise;
            },
            "panoptic, brats, picai, dice, hd95, volume or all, by commas: also writes metrics.json beside --out")
        ->delimiter(',')
        ->allow_extra_args(false);
    CLI::Option* strata =
        command->add_option("--strata", options->strata, "groups of lesions by size in metrics.json, of equal count")
            ->check(CLI::Range(1, 20))
            ->capture_default_str();
    CLI::Option* small =
        command
            ->add_option("--small-diameter", options->small_diameter,
                         "largest diameter of a small lesion, in voxels (default: that of the smaller half)")
            ->check(CLI::PositiveNumber)
            ->excludes(strata);
    command
        ->add_option_function<double>(
            "--small-diameter-mm",
            [options](double diameter) {
                options->small_diameter = diameter;
                options->small_unit = SizeUnit::mm;
            },
            "the same in mm")
        ->check(CLI::PositiveNumber)
        ->excludes(strata)
        ->excludes(small);
    command
        ->add_option("--brats-dilation", options->metrics.lesionwise.dilation,
                     "steps by which brats lets lesions grow before they are compared")
        ->check(CLI::Range(0, 100))
        ->capture_default_str();
    command->add_option("--brats-volume", options->metrics.lesionwise.volume, "mm3; brats leaves lesions up to this out")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    command->footer(
        "A lesion is found by a detection (component of probability > 0.5) with an\n"
        "intersection over union of at least 0.1; docs/evaluation.md has the rule. Sizes\n"
        "are diameters of the ball of equal volume, in mm.\n"
        "Example:\n  iwseg evaluate --data lesions --predictions runs/iwdl/predictions \\\n      --out "
        "runs/iwdl/records.json");
    command->callback([options] { fmt::print("{}", evaluation_table(evaluate_cases(*options))); });
}

}  // namespace iwseg
