#include "apps/evaluation/evaluation_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/prediction/memory_need.h"
#include "apps/prediction/output_folder.h"
#include "apps/prediction/predicted_scan.h"
#include "apps/run_folder/staleness.h"
#include "apps/terminal/progress.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/some_names.h"
#include "data/volume/volume.h"
#include "evaluation/froc.h"
#include "evaluation/instances.h"
#include "evaluation/scan_sets.h"
#include "kernels/components/components.h"
#include "kernels/cpu/thread_count.h"
#include "kernels/cpu/thread_pool.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

struct Target {
    Geometry geometry;
    LabelMask mask;
};

Target read_target(const fs::path& file, const LesionLabels& meaning) {
    const Volume<std::int32_t> labels = read_labels(file);
    if (labels.geometry.voxels() > kMostVoxels)
        throw InputError(
            fmt::format("{} has {} voxels; expected at most {}", file.string(), labels.geometry.voxels(), kMostVoxels));
    return {labels.geometry, meaning.mask_of(labels, file)};
}

/// Which files the scores come from, over all cases.
struct ScoreSources {
    std::size_t masks = 0, derived_logits = 0;
    std::vector<std::string> without_lesion_value, older_labels;

    /// one_class: a mask without lesion, but of other labels, is told; of several classes that is nothing unusual.
    void add(const std::string& name, const PredictedScan& scan, bool one_class) {
        masks += scan.is_mask;
        if (scan.only_other_labels && one_class) without_lesion_value.push_back(name);
        if (scan.older_labels) older_labels.push_back(name);
        derived_logits += !scan.is_mask && scan.logit.empty();
    }
    std::vector<std::string> notes(std::size_t cases) const {
        std::vector<std::string> said;
        if (masks > 0)
            said.push_back(fmt::format(
                "Masks without probabilities in {} of {} cases: their detections all have the score 1.", masks, cases));
        if (derived_logits > 0)
            said.push_back(
                fmt::format("Logits in {} of {} cases are those of the probabilities.", derived_logits, cases));
        if (!older_labels.empty())
            said.push_back(
                fmt::format("Labels are older than the probabilities beside them, and may be another prediction's: {}.",
                            some_names(older_labels)));
        if (!without_lesion_value.empty())
            said.push_back(fmt::format(
                "Masks of {} ({}) hold other labels but none that is lesion: nothing is detected there.",
                without_lesion_value.size() == 1 ? "1 case" : fmt::format("{} cases", without_lesion_value.size()),
                some_names(without_lesion_value)));
        return said;
    }
};

/// Sizes are in mm, which scans of different voxels have in common, unless a bound in voxels is asked for.
SizeUnit unit_of(const EvaluationOptions& options) {
    return options.small_diameter > 0 ? options.small_unit : SizeUnit::mm;
}

std::vector<SizeRange> strata_of(const Records& records, const EvaluationOptions& options) {
    if (options.small_diameter > 0)
        return size_ranges({options.small_diameter, std::numeric_limits<double>::infinity()});
    return size_ranges(size_bounds(lesion_diameters(records, unit_of(options)), options.strata));
}

SizeBound bound_of_small(const Records& records, const EvaluationOptions& options) {
    if (options.small_diameter > 0) return {options.small_diameter, options.small_unit};
    const std::vector<double> halves = size_bounds(lesion_diameters(records, unit_of(options)), 2);
    return {halves.empty() ? 0 : halves.front(), unit_of(options)};
}

}  // namespace

LesionCounts Evaluation::counts() const {
    LesionCounts all;
    for (const EvaluatedCase& one : cases) all += one.counts;
    return all;
}

double Evaluation::mean_dice() const {
    double sum = 0;
    for (const EvaluatedCase& one : cases) sum += one.overlap.dice();
    return sum / static_cast<double>(cases.size());
}

Evaluation evaluate_cases(const EvaluationOptions& options) {
    const Reference reference = open_reference(options);
    return evaluate_cases(options, reference, cases_to_evaluate(reference, {options.predictions}, options.cases));
}

Reference open_reference(const EvaluationOptions& options) {
    return options.reference.empty() ? dataset_reference(options.dataset, options.labels)
                                     : folder_reference(options.reference, options.labels);
}

Evaluation evaluate_cases(const EvaluationOptions& options, const Reference& reference, const CasesToEvaluate& chosen) {
    const fs::path metrics_file = fs::path(options.out).replace_filename(kMetricsFile);
    if (options.metrics.any() && metrics_file == options.out)
        throw InputError(options.out.string() + " is where the metrics go; expected another name for the records");
    const OutputFolder folder(options.out.parent_path(), options.out.filename().string());
    ThreadPool threads(count_threads().threads);
    if (reference.dataset) {
        std::vector<Case> cases;
        for (const ReferenceCase& one : chosen.cases) cases.push_back(reference.dataset->find(one.name));
        note_stale_predictions(options.predictions, *reference.dataset, cases);
    }
    MetricOptions metrics = options.metrics;
    metrics.size_unit = unit_of(options);
    std::vector<MemoryNeed> needs;
    for (const ReferenceCase& one : chosen.cases) {
        const PredictionFiles files = find_prediction(options.predictions, one.name, reference.of_class).value();
        needs.push_back(evaluation_need({.name = one.name,
                                         .label = one.label,
                                         .logits = !files.logit.empty(),
                                         .labels = !files.labels.empty(),
                                         .ignored = reference.labels.ignore().has_value(),
                                         .brats = options.metrics.brats,
                                         .surfaces = options.metrics.wants_surfaces()}));
    }
    fmt::print("{}", memory_sentence(needs, "evaluating"));
    Evaluation evaluation;
    ScoreSources sources;
    Progress progress(reference.of_class.empty() ? "evaluate" : "evaluate " + reference.of_class,
                      static_cast<std::int64_t>(chosen.cases.size()), "scans");
    for (const ReferenceCase& scan : chosen.cases) {
        const Target target = read_target(scan.label, reference.labels);
        const PredictedScan prediction =
            read_prediction(find_prediction(options.predictions, scan.name, reference.of_class).value(),
                            {target.geometry, scan.label, reference.labels, !reference.of_class.empty()});
        sources.add(scan.name, prediction, reference.of_class.empty());
        const auto& shape = target.geometry.shape;
        const ScanToEvaluate given{.d = shape[0],
                                   .h = shape[1],
                                   .w = shape[2],
                                   .target = target.mask.lesion.data(),
                                   .probability = prediction.probability.data(),
                                   .logit = prediction.logit.empty() ? nullptr : prediction.logit.data(),
                                   .ignored = target.mask.ignored.empty() ? nullptr : target.mask.ignored.data(),
                                   .spacing = target.geometry.spacing()};
        const Instances instances = find_instances(given, prediction.threshold, threads.stream());
        const std::vector<Record>& records = evaluation.records[scan.name] = lesion_records(given, instances);
        evaluation.cases.push_back(
            {scan.name,
             {},
             {instances.shared_voxels(), instances.lesion_voxels(), instances.detection_voxels()},
             volume_ratio(records, SizeUnit::mm)});
        evaluation.metrics.cases.push_back(
            {scan.name, measure_case(instances, given.spacing, metrics, threads.stream())});
        progress.update(static_cast<std::int64_t>(evaluation.cases.size()), scan.name);
    }
    evaluation.notes = chosen.notes;
    for (std::string& note : sources.notes(chosen.cases.size())) evaluation.notes.push_back(std::move(note));
    evaluation.small_as_asked = options.small_diameter > 0;
    evaluation.small = bound_of_small(evaluation.records, options);
    for (EvaluatedCase& one : evaluation.cases)
        one.counts = count_lesions(evaluation.records[one.name], evaluation.small);
    write_records(options.out, evaluation.records);
    evaluation.metrics.options = metrics;
    evaluation.metrics.strata = strata_of(evaluation.records, options);
    if (options.metrics.any() && options.metrics_file) write_text(metrics_file, metrics_json(evaluation.metrics));
    return evaluation;
}

std::string evaluation_table(const Evaluation& evaluation) {
    std::size_t width = 4;
    for (const EvaluatedCase& one : evaluation.cases) width = std::max(width, one.name.size());
    std::string table = fmt::format("{:<{}}  lesions  found  false p.   Dice  {:<15}  volume\n", "case", width,
                                    evaluation.small_as_asked ? "small found" : "smaller half");
    const auto add_row = [&](const std::string& name, const LesionCounts& counts, double dice, double volume) {
        const std::string small = counts.small_lesions ? fmt::format("{} of {} ({:.0f} %)", counts.small_found,
                                                                     counts.small_lesions, 100 * counts.small_recall())
                                                       : "none there";
        table += fmt::format("{:<{}}  {:>7}  {:>5}  {:>8}  {:>5.3f}  {:<15}  {}\n", name, width, counts.lesions,
                             counts.found, counts.false_positives, dice, small, volume_ratio_text(volume));
    };
    for (const EvaluatedCase& one : evaluation.cases)
        add_row(one.name, one.counts, one.overlap.dice(), one.volume_ratio);
    add_row("all", evaluation.counts(), evaluation.mean_dice(), volume_ratio(evaluation.records));
    table += fmt::format(
        "false p.: false positives. Dice of all is the mean over scans. {}\n"
        "at most {:.1f} {} in diameter. Volume is predicted over true.\n",
        evaluation.small_as_asked ? "Small lesions are" : "The smaller half is", evaluation.small.diameter,
        name_of(evaluation.small.unit));
    for (const std::string& note : evaluation.notes) table += note + "\n";
    return evaluation.metrics.options.any() ? table + metrics_table(evaluation.metrics) : table;
}

}  // namespace iwseg
