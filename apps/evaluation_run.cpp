#include "apps/evaluation_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/progress.h"
#include "data/dataset.h"
#include "data/volume.h"
#include "evaluation/froc.h"
#include "kernels/error.h"

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
    std::vector<std::uint8_t> lesion;
};

Target read_target(const fs::path& file, const std::vector<int>& lesion_labels) {
    const Volume<std::int32_t> labels = read_labels(file);
    if (labels.geometry.voxels() > std::numeric_limits<std::int32_t>::max())
        throw InputError(
            fmt::format("{} has {} voxels; expected at most 2147483647", file.string(), labels.geometry.voxels()));
    Target target{labels.geometry, std::vector<std::uint8_t>(labels.voxels.size())};
    for (std::size_t v = 0; v < labels.voxels.size(); ++v) {
        const std::int32_t label = labels.voxels[v];
        target.lesion[v] =
            lesion_labels.empty() ? label > 0 : std::count(lesion_labels.begin(), lesion_labels.end(), label) > 0;
    }
    return target;
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
    const std::vector<Case> cases = cases_to_judge(open_dataset(options.dataset), options);
    Evaluation evaluation;
    Progress progress("evaluate", static_cast<std::int64_t>(cases.size()), "scans");
    for (const Case& scan : cases) {
        const Target target = read_target(*scan.label, options.labels);
        const auto read = [&](const fs::path& file) { return read_prediction(file, target.geometry, *scan.label); };
        const Volume<float> probability = read(probability_file(options.predictions, scan.name));
        const Volume<float> logit = read(logit_file(options.predictions, scan.name));
        const auto& shape = target.geometry.shape;
        evaluation.records[scan.name] = lesion_records(
            {shape[0], shape[1], shape[2], target.lesion.data(), probability.voxels.data(), logit.voxels.data()});
        evaluation.cases.push_back(
            {scan.name, {}, count_overlap(target.lesion.data(), probability.voxels.data(), target.geometry.voxels())});
        progress.update(static_cast<std::int64_t>(evaluation.cases.size()), scan.name);
    }
    const std::vector<double> bounds = size_bounds(lesion_diameters(evaluation.records), 2);
    evaluation.small_diameter = bounds.empty() ? 0 : bounds.front();
    for (EvaluatedCase& one : evaluation.cases)
        one.counts = count_lesions(evaluation.records[one.name], evaluation.small_diameter);
    write_records(options.out, evaluation.records);
    return evaluation;
}

std::string evaluation_table(const Evaluation& evaluation) {
    std::size_t width = 4;
    for (const EvaluatedCase& one : evaluation.cases) width = std::max(width, one.name.size());
    std::string table =
        fmt::format("{:<{}}  lesions   found  false positives    Dice  found of the smaller half\n", "case", width);
    const auto add_row = [&](const std::string& name, const LesionCounts& counts, double dice) {
        const std::string small = counts.small_lesions ? fmt::format("{} of {} ({:.0f} %)", counts.small_found,
                                                                     counts.small_lesions, 100 * counts.small_recall())
                                                       : "none there";
        table += fmt::format("{:<{}}  {:>7} {:>7} {:>16} {:>7.3f}  {}\n", name, width, counts.lesions, counts.found,
                             counts.false_positives, dice, small);
    };
    for (const EvaluatedCase& one : evaluation.cases) add_row(one.name, one.counts, one.overlap.dice());
    add_row("all", evaluation.counts(), evaluation.mean_dice());
    return table +
           fmt::format("Dice of all is the mean over scans; the smaller half is at most {:.1f} voxels in diameter.\n",
                       evaluation.small_diameter);
}

}  // namespace iwseg
