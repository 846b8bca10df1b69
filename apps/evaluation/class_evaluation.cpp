#include "apps/evaluation/class_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/run_folder/run_files.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/folder.h"
#include "evaluation/froc.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

void require_folder(const EvaluationOptions& options) {
    if (options.out.extension() == ".json")
        throw InputError(
            fmt::format("--out {} is one file; expected a folder for the records of each class", options.out.string()));
}

std::vector<ClassMetrics> metrics_of(const std::vector<ClassEvaluation>& evaluations) {
    std::vector<ClassMetrics> metrics;
    for (const ClassEvaluation& one : evaluations) metrics.push_back({one.of, &one.evaluation.metrics});
    return metrics;
}

std::string share_text(double share) {
    return std::isnan(share) ? "-" : fmt::format("{:.3f}", share);
}

}  // namespace

std::vector<ClassEvaluation> evaluate_classes(const EvaluationOptions& options, const Reference& reference,
                                              const std::vector<LabelClass>& classes) {
    require_folder(options);
    std::vector<ClassEvaluation> evaluations;
    for (const LabelClass& of_class : classes) {
        const Reference own = reference_of_class(reference, of_class);
        EvaluationOptions chosen = options;
        chosen.out = RunFiles(options.out / of_class.name).records();
        make_folder(chosen.out.parent_path());
        chosen.metrics_file = false;
        evaluations.push_back(
            {of_class, evaluate_cases(chosen, own, cases_to_evaluate(own, {options.predictions}, options.cases))});
    }
    if (options.metrics.any()) write_text(options.out / kMetricsFile, class_metrics_json(metrics_of(evaluations)));
    return evaluations;
}

std::string class_table(const std::vector<ClassEvaluation>& evaluations) {
    std::string text;
    std::size_t width = std::string("mean of classes").size();
    for (const auto& [of, evaluation] : evaluations) {
        text += fmt::format("{}\n{}\n", label_classes_text({of}), evaluation_table(evaluation));
        width = std::max(width, of.name.size());
    }
    text += fmt::format("{:<{}}  lesions  found  recall  false p.   Dice  volume\n", "class", width);
    double dice = 0, recall = 0, recalled = 0;
    for (const auto& [of, evaluation] : evaluations) {
        const LesionCounts counts = evaluation.counts();
        text += fmt::format("{:<{}}  {:>7}  {:>5}  {:>6}  {:>8}  {:>5.3f}  {}\n", of.name, width, counts.lesions,
                            counts.found, share_text(counts.recall()), counts.false_positives, evaluation.mean_dice(),
                            volume_ratio_text(volume_ratio(evaluation.records)));
        dice += evaluation.mean_dice();
        if (counts.lesions == 0) continue;
        recall += counts.recall();
        ++recalled;
    }
    text += fmt::format("{:<{}}  {:>7}  {:>5}  {:>6}  {:>8}  {:>5.3f}\n", "mean of classes", width, "", "",
                        share_text(recall / recalled), "", dice / static_cast<double>(evaluations.size()));
    const std::vector<ClassMetrics> metrics = metrics_of(evaluations);
    return metrics.front().metrics->options.any() ? text + class_metrics_table(metrics) : text;
}

std::string compare_classes(const EvaluationOptions& options, const Reference& reference,
                            const std::vector<LabelClass>& classes, const std::vector<NamedPredictions>& predictions) {
    require_folder(options);
    std::string text;
    for (const LabelClass& of_class : classes) {
        EvaluationOptions own = options;
        own.out = options.out / of_class.name;
        text += fmt::format(
            "{}class {}\n{}", text.empty() ? "" : "\n", label_classes_text({of_class}),
            comparison_table(compare_predictions(own, reference_of_class(reference, of_class), predictions)));
    }
    return text;
}

}  // namespace iwseg
