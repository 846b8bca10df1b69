#include "apps/experiments/experiment_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/evaluation/class_evaluation.h"
#include "apps/evaluation/evaluation_run.h"
#include "apps/prediction/prediction_files.h"
#include "apps/prediction/prediction_run.h"
#include "apps/report/class_report.h"
#include "apps/report/report.h"
#include "apps/report/report_data.h"
#include "apps/run_folder/staleness.h"
#include "apps/training/training_run.h"
#include "base/some_names.h"

namespace iwseg {
namespace {

/// Whether a result is there and made of what is there now; where it is not, but was, says what has changed. What no
/// record tells is compared by times of last change, the result's own files left out.
bool is_current(RunInputs& inputs, const std::string& result, const Ingredients& now,
                const std::filesystem::path& file) {
    if (!std::filesystem::exists(file)) return false;
    if (!inputs.knows(result))
        return std::all_of(now.files.begin(), now.files.end(), [&](const auto& source) {
            const bool own =
                result.starts_with("prediction") && source.first.starts_with(RunFiles({}).predictions().string() + "/");
            return own ? std::filesystem::exists(source.second) : is_newer(file, source.second);
        });
    const std::vector<std::string> changes = inputs.changes(result, now);
    if (changes.empty()) return true;
    fmt::print("anew     {}: {}\n", result, some_names(changes));
    return false;
}

/// The records of each class, and metrics.json of all.
void evaluate_run_classes(const Config& config, const Dataset& dataset, const std::vector<Case>& cases,
                          const ClassScheme& classes, const RunFolder& run, RunInputs& inputs) {
    const std::filesystem::path metrics = run.classes() / kMetricsFile;
    const std::string result = "classes/" + metrics.filename().string();
    const Ingredients evaluated = records_ingredients(dataset, cases, run.predictions(), config);
    if (is_current(inputs, result, evaluated, metrics)) {
        fmt::print("{} is there already\n", metrics.string());
        return;
    }
    EvaluationOptions evaluation;
    evaluation.dataset = dataset.folder;
    evaluation.predictions = run.predictions();
    evaluation.out = run.classes();
    evaluation.cases = case_names(cases);
    evaluation.metrics = metric_options({"panoptic", "dice", "volume"});
    const Snapshot labels_and_predictions = Snapshot::of(evaluated);
    fmt::print("{}", class_table(evaluate_classes(evaluation, open_reference(evaluation), classes.classes())));
    inputs.record(result, labels_and_predictions);
}

}  // namespace

void run_experiment(Context& context, const Config& config, const std::filesystem::path& dataset_folder,
                    const RunFolder& run) {
    train(context, config, dataset_folder, run);
    const Dataset dataset = open_dataset(dataset_folder);
    const std::vector<Case> cases = choose_cases(dataset, {}, run.split());
    const ClassScheme classes = class_scheme(config, dataset);
    RunInputs inputs(run.inputs());
    PredictionOptions prediction;
    prediction.out = run.predictions();
    prediction.patch = config.predict.patch;
    prediction.stride = config.predict.stride;
    prediction.skip_finished = true;
    prediction.is_current = [&](const Case& scan) {
        // The last file to be written.
        const auto mask = find_prediction_file(run.predictions(), scan.name, classes.any() ? "" : "mask");
        return mask && is_current(inputs, prediction_result(scan.name),
                                  prediction_ingredients(dataset, scan, run.model(), config, run.predictions()), *mask);
    };
    // Weights and scans as they are before they are read: what is replaced meanwhile is noticed by the next run.
    const Snapshot weights = Snapshot::of({{{run.model().filename().string(), run.model()}}, {}});
    Snapshot made_of;
    prediction.reading = [&](const Case& scan) {
        made_of = Snapshot::of(prediction_sources(dataset, scan, run.model(), config));
        made_of.add(weights);
    };
    prediction.written = [&](const Case& scan) {
        made_of.add(Snapshot::of(prediction_files_of(scan, run.predictions())));
        inputs.record(prediction_result(scan.name), made_of);
    };
    prediction.masks.own_test_scans = own_test_scans(run.root());
    predict_cases(context, {open_network(run.model(), run.config())}, dataset, cases, prediction);

    if (classes.any()) return evaluate_run_classes(config, dataset, cases, classes, run, inputs);
    const Ingredients evaluated = records_ingredients(dataset, cases, run.predictions(), config);
    if (is_current(inputs, run.records().filename(), evaluated, run.records())) {
        fmt::print("{} is there already\n", run.records().string());
        return;
    }
    EvaluationOptions evaluation;
    evaluation.dataset = dataset_folder;
    evaluation.predictions = run.predictions();
    evaluation.out = run.records();
    evaluation.cases = case_names(cases);
    evaluation.labels = config.labels;
    const Snapshot labels_and_predictions = Snapshot::of(evaluated);
    fmt::print("{}", evaluation_table(evaluate_cases(evaluation)));
    inputs.record(run.records().filename(), labels_and_predictions);
}

bool write_report_of_run(const std::string& name, const std::filesystem::path& dataset_folder, const RunFolder& run,
                         const std::string& summary) {
    const Dataset dataset = open_dataset(dataset_folder);
    RunInputs inputs(run.inputs());
    const Ingredients shown = report_ingredients(run, dataset, choose_cases(dataset, {}, run.split()), name, summary);
    if (is_current(inputs, run.report().filename(), shown, run.report())) return false;
    const Snapshot made_of = Snapshot::of(shown);
    const Config config = std::filesystem::exists(run.config()) ? resolve_config(run.config(), {}) : Config{};
    if (const ClassScheme classes = class_scheme(config, dataset); classes.any()) {
        write_class_report(dataset_folder, {{name, run.root()}}, classes.classes(), run.report(), summary);
    } else {
        ReportData report = read_report_data(dataset_folder, {{name, run.root()}});
        report.summary = summary;
        write_report(report, run.report());
    }
    inputs.record(run.report().filename(), made_of);
    return true;
}

}  // namespace iwseg
