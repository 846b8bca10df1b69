#include "apps/evaluation_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/progress.h"
#include "apps/staleness.h"
#include "data/dataset.h"
#include "data/volume.h"
#include "engine/atomic_file.h"
#include "evaluation/froc.h"
#include "evaluation/instances.h"
#include "kernels/error.h"
#include "kernels/thread_count.h"
#include "kernels/thread_pool.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

fs::path probability_file(const fs::path& folder, const std::string& name) {
    return folder / (name + "_prob.nii.gz");
}
fs::path logit_file(const fs::path& folder, const std::string& name) {
    return folder / (name + "_logit.nii.gz");
}

std::vector<Case> cases_to_judge(const Dataset& dataset, const EvaluationOptions& options) {
    std::vector<Case> cases;
    for (const std::string& name : options.cases) cases.push_back(dataset.find(name));
    if (options.cases.empty()) {
        for (const auto* list : {&dataset.cases, &dataset.test_cases})
            for (const Case& scan : *list)
                if (scan.label && fs::exists(probability_file(options.predictions, scan.name))) cases.push_back(scan);
        if (cases.empty())
            throw InputError(fmt::format("{} holds no CASE_prob.nii.gz of a labelled case of {}",
                                         options.predictions.string(), options.dataset.string()));
    }
    for (const Case& scan : cases) {
        if (!scan.label) throw InputError("case " + scan.name + " has no label file, which is expected in labelsTr");
        for (const fs::path& file :
             {probability_file(options.predictions, scan.name), logit_file(options.predictions, scan.name)})
            if (!fs::exists(file))
                throw InputError(file.string() + " is missing: expected what predict --save prob,logit writes");
    }
    std::sort(cases.begin(), cases.end(), [](const Case& a, const Case& b) { return a.name < b.name; });
    return cases;
}

Volume<float> read_prediction(const fs::path& file, const Geometry& label_geometry, const fs::path& label_file) {
    Volume<float> volume = read_image(file);
    require_same_geometry(volume.geometry, file, label_geometry, label_file);
    if (!std::all_of(volume.voxels.begin(), volume.voxels.end(), [](float value) { return std::isfinite(value); }))
        throw InputError(file.string() + " holds a value that is not finite");
    return volume;
}

struct Target {
    Geometry geometry;
    LabelMask mask;
};

Target read_target(const fs::path& file, const LesionLabels& meaning) {
    const Volume<std::int32_t> labels = read_labels(file);
    if (labels.geometry.voxels() > std::numeric_limits<std::int32_t>::max())
        throw InputError(
            fmt::format("{} has {} voxels; expected at most 2147483647", file.string(), labels.geometry.voxels()));
    return {labels.geometry, meaning.mask_of(labels, file)};
}

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
    const fs::path metrics_file = fs::path(options.out).replace_filename("metrics.json");
    if (options.metrics.any() && metrics_file == options.out)
        throw InputError(options.out.string() + " is where the metrics go; expected another name for the records");
    const Dataset dataset = open_dataset(options.dataset);
    const std::vector<Case> cases = cases_to_judge(dataset, options);
    const LesionLabels meaning(dataset.label_names, options.labels);
    if (const std::string said = meaning.sentence(); !said.empty()) fmt::print("labels   {}\n", said);
    ThreadPool threads(count_threads().threads);
    note_stale_predictions(options.predictions, dataset, cases);
    MetricOptions metrics = options.metrics;
    metrics.size_unit = unit_of(options);
    Evaluation evaluation;
    Progress progress("evaluate", static_cast<std::int64_t>(cases.size()), "scans");
    for (const Case& scan : cases) {
        const Target target = read_target(*scan.label, meaning);
        const auto read = [&](const fs::path& file) { return read_prediction(file, target.geometry, *scan.label); };
        const Volume<float> probability = read(probability_file(options.predictions, scan.name));
        const Volume<float> logit = read(logit_file(options.predictions, scan.name));
        const auto& shape = target.geometry.shape;
        const ScanToEvaluate given{.d = shape[0],
                                   .h = shape[1],
                                   .w = shape[2],
                                   .target = target.mask.lesion.data(),
                                   .probability = probability.voxels.data(),
                                   .logit = logit.voxels.data(),
                                   .ignored = target.mask.ignored.empty() ? nullptr : target.mask.ignored.data(),
                                   .spacing = target.geometry.spacing()};
        const Instances instances = find_instances(given, DetectionRule{}.threshold, threads.stream());
        const std::vector<Record>& records = evaluation.records[scan.name] = lesion_records(given, instances);
        evaluation.cases.push_back(
            {scan.name,
             {},
             {instances.shared_voxels(), instances.lesion_voxels(), instances.detection_voxels()},
             volume_ratio(records, SizeUnit::mm)});
        evaluation.metrics.cases.push_back({scan.name, measure_case(instances, given.spacing, metrics, threads.stream())});
        progress.update(static_cast<std::int64_t>(evaluation.cases.size()), scan.name);
    }
    evaluation.small_as_asked = options.small_diameter > 0;
    evaluation.small = bound_of_small(evaluation.records, options);
    for (EvaluatedCase& one : evaluation.cases)
        one.counts = count_lesions(evaluation.records[one.name], evaluation.small);
    write_records(options.out, evaluation.records);
    evaluation.metrics.options = metrics;
    evaluation.metrics.strata = strata_of(evaluation.records, options);
    if (options.metrics.any()) write_text(metrics_file, metrics_json(evaluation.metrics));
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
    return evaluation.metrics.options.any() ? table + metrics_table(evaluation.metrics) : table;
}

}  // namespace iwseg
