#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands/commands.h"
#include "apps/commands/finite.h"
#include "apps/evaluation/class_evaluation.h"
#include "apps/evaluation/evaluation_comparison.h"
#include "base/error.h"

namespace iwseg {

namespace {

struct EvaluateArguments {
    EvaluationOptions options;
    std::vector<std::string> predictions;  ///< FOLDER or NAME=FOLDER
    bool names_dataset = false;            ///< --data was given, be it an empty string
    std::string classes;                   ///< "edema=1,tumour=2+3"; empty: lesions are of no class
};

void run_evaluate_classes(EvaluateArguments arguments) {
    EvaluationOptions& options = arguments.options;
    const Reference reference = open_reference(options);
    const LabelNames names = reference.dataset ? reference.dataset->label_names : LabelNames{};
    const std::vector<LabelClass> classes = read_label_classes(arguments.classes, names, "--classes");
    const std::vector<NamedPredictions> predictions = named_predictions(arguments.predictions);
    if (reference.dataset)
        for (const std::string& note : reference.dataset->notes) fmt::print("note     {}\n", note);
    fmt::print("classes  {}{}\n", label_classes_text(classes),
               reference.labels.ignore() ? fmt::format("; {} is ignored", *reference.labels.ignore()) : "");
    if (predictions.size() > 1) {
        fmt::print("{}", compare_classes(options, reference, classes, predictions));
        return;
    }
    options.predictions = predictions.front().folder;
    fmt::print("{}", class_table(evaluate_classes(options, reference, classes)));
}

void run_evaluate(EvaluateArguments arguments) {
    EvaluationOptions& options = arguments.options;
    if (!arguments.names_dataset && options.reference.empty())
        throw InputError("evaluate needs --data DATASET or --reference FOLDER, whose labels are the truth");
    if (!arguments.classes.empty()) return run_evaluate_classes(std::move(arguments));
    const Reference reference = open_reference(options);
    const std::vector<NamedPredictions> predictions = named_predictions(arguments.predictions);
    for (const std::string& note : reference.notes) fmt::print("note     {}\n", note);
    if (predictions.size() > 1) {
        fmt::print("{}", comparison_table(compare_predictions(options, reference, predictions)));
        return;
    }
    options.predictions = predictions.front().folder;
    const CasesToEvaluate chosen = cases_to_evaluate(reference, {options.predictions}, options.cases);
    fmt::print("{}", evaluation_table(evaluate_cases(options, reference, chosen)));
}

void add_inputs(CLI::App& command, EvaluateArguments& arguments) {
    EvaluationOptions& options = arguments.options;
    CLI::Option* data = command.add_option("--data", options.dataset, "dataset folder, whose labels are the truth")
                            ->type_name("FOLDER");
    data->each([&arguments](const std::string&) { arguments.names_dataset = true; });
    command.add_option("--reference", options.reference, "or a folder of masks CASE.nii.gz")
        ->type_name("FOLDER")
        ->excludes(data);
    command
        .add_option("--predictions", arguments.predictions,
                    "folder of CASE_prob.nii.gz (and CASE_logit.nii.gz), or of masks CASE.nii.gz; given again, "
                    "NAME=FOLDER too: they are compared on the cases that all predict")
        ->type_name("FOLDER")
        ->required()
        ->allow_extra_args(false);
    command
        .add_option(
            "--out", options.out,
            "records.json to write; with several --predictions a folder of NAME/records.json, with --classes of "
            "CLASS/records.json")
        ->type_name("FILE")
        ->required();
}

}  // namespace

void add_evaluate_command(CLI::App& app) {
    auto arguments = std::make_shared<EvaluateArguments>();
    const std::shared_ptr<EvaluationOptions> options(arguments, &arguments->options);
    CLI::App* command = app.add_subcommand("evaluate", "Evaluate predictions lesion by lesion");
    add_inputs(*command, *arguments);
    command->add_option("--cases", options->cases, "names, by commas (default: every labelled case with a prediction)")
        ->delimiter(',')
        ->allow_extra_args(false);
    CLI::Option* labels = command
                              ->add_option("--labels", options->labels,
                                           "label values that are lesion (default: all that dataset.json names)")
                              ->delimiter(',')
                              ->allow_extra_args(false);
    command
        ->add_option("--classes", arguments->classes,
                     "evaluate classes one by one, a name for label values each, as in edema=1,tumour=2+3; dataset: "
                     "those that dataset.json names")
        ->type_name("NAME=VALUE+...,...")
        ->excludes(labels);
    command
        ->add_option_function<std::vector<std::string>>(
            "--metrics",
            [options](const std::vector<std::string>& names) {
                MetricOptions chosen = metric_options(names);  // which; how they are computed stays
                chosen.lesionwise = options->metrics.lesionwise;
                chosen.scan_options = options->metrics.scan_options;
                options->metrics = chosen;
            },
            fmt::format("{} or all, by commas: also writes metrics.json beside --out", fmt::join(metric_names(), ", ")))
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
            ->check(finite())
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
        ->check(finite())
        ->excludes(strata)
        ->excludes(small);
    command
        ->add_option("--brats-dilation", options->metrics.lesionwise.dilation,
                     "steps by which brats lets lesions grow before they are compared")
        ->check(CLI::Range(0, 100))
        ->capture_default_str();
    command
        ->add_option("--brats-volume", options->metrics.lesionwise.volume, "mm3; brats leaves lesions up to this out")
        ->check(CLI::NonNegativeNumber)
        ->check(finite())
        ->capture_default_str();
    for (const ScanMetric& metric : scan_metrics()) {
        if (!metric.option) continue;
        const MetricOption option = *metric.option;
        command
            ->add_option_function<double>(
                fmt::format("--{}", option.flag),
                [options, option](double value) { options->metrics.scan_options[option.key] = value; },
                fmt::format("{} (default: {})", option.help, option.value))
            ->check(CLI::Range(option.least, 1e9))
            ->check(finite());
    }
    command->footer(
        "A lesion is found by a detection (component of probability > 0.5) with an\n"
        "intersection over union of at least 0.1; docs/evaluation.md has the rule. Sizes\n"
        "are diameters of the ball of equal volume, in mm.\n"
        "Examples:\n  iwseg evaluate --data lesions --predictions runs/iwdl/predictions \\\n      --out "
        "runs/iwdl/records.json\n"
        "  iwseg evaluate --reference labelsTs --predictions nnunet=out_nnunet \\\n"
        "      --predictions iwdl=out_iwdl --out comparison\n"
        "  iwseg evaluate --reference labelsTs --predictions out_nnunet \\\n"
        "      --classes edema=1,tumour=2+3 --metrics all --out by_class");
    command->callback([arguments] { run_evaluate(*arguments); });
}

}  // namespace iwseg
