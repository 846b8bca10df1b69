#include "apps/experiment_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/evaluation_run.h"
#include "apps/prediction_run.h"
#include "apps/training_run.h"

namespace iwseg {
namespace {

std::vector<std::string> names_of(const std::vector<Case>& cases) {
    std::vector<std::string> names;
    for (const Case& scan : cases) names.push_back(scan.name);
    return names;
}

}  // namespace

void run_experiment(Context& context, const Config& config, const std::filesystem::path& dataset_folder,
                    const RunFolder& run) {
    train(context, config, dataset_folder, run);
    const Dataset dataset = open_dataset(dataset_folder);
    const std::vector<Case> cases = choose_cases(dataset, {}, run.split());
    PredictionOptions prediction;
    prediction.out = run.predictions();
    prediction.patch = config.predict.patch;
    prediction.stride = config.predict.stride;
    prediction.skip_finished = true;
    predict_cases(context, open_network(run.model(), run.config()), dataset, cases, prediction);

    // A case's mask is the last of its files to be written.
    const bool judged = std::all_of(cases.begin(), cases.end(), [&](const Case& scan) {
        return is_newer(run.records(), run.predictions() / (scan.name + "_mask.nii.gz"));
    });
    if (judged) {
        fmt::print("{} is there already\n", run.records().string());
        return;
    }
    EvaluationOptions evaluation;
    evaluation.dataset = dataset_folder;
    evaluation.predictions = run.predictions();
    evaluation.out = run.records();
    evaluation.cases = names_of(cases);
    evaluation.labels = config.labels;
    fmt::print("{}", evaluation_table(evaluate_cases(evaluation)));
}

}  // namespace iwseg
