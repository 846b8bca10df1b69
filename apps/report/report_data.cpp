#include "apps/report/report_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "apps/prediction/prediction_files.h"
#include "apps/run_folder/run_files.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "evaluation/hit_rule.h"
#include "evaluation/instances.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

std::vector<LoggedStep> read_log(const fs::path& file) {
    std::vector<LoggedStep> log;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        const auto entry = nlohmann::json::parse(line, nullptr, false);
        // The last line of a run that was killed; passes over validation scans are read on their own.
        if (!entry.is_object() || entry.contains("validation")) continue;
        const auto number = [&](const char* key) {
            const auto value = entry.find(key);
            return value != entry.end() && value->is_number() ? value->get<double>() : 0.0;
        };
        log.push_back({number("step"), number("loss"), number("rate"), number("seconds"), number("wait")});
    }
    return log;
}

ReportRun read_run(const RunForReport& run, const LabelClass* of_class) {
    constexpr int size_groups = 4;
    ReportRun read;
    read.name = run.name;
    read.folder = run.run;
    const RunFiles files(run.run);
    const fs::path config = files.config();
    if (fs::exists(config)) apply_toml(read.config, read_text(config), config.string());
    if (of_class) read.config.labels = {of_class->values.begin(), of_class->values.end()};
    read.log = read_log(files.log());
    read.validation = read_validation_scores(files.log());
    if (const fs::path chosen = files.operating_point(); !of_class && fs::exists(chosen))
        read.operating_point = parse_operating_point(read_text(chosen), chosen.string());
    read.records = read_records(of_class ? files.of_class(of_class->name).records() : files.records());
    read.froc = compute_froc(read.records, {});
    FrocOptions by_size;
    by_size.strata = size_groups;
    read.groups = compute_froc(read.records, by_size).strata;
    for (const auto& [scan, records] : read.records)
        read.counts += count_lesions(records, {read.froc.strata.front().diameter_high, read.froc.size_unit});
    return read;
}

LabelMask read_mask(const fs::path& file, const LesionLabels& meaning, Geometry& geometry) {
    const Volume<std::int32_t> volume = read_labels(file);
    geometry = volume.geometry;
    return meaning.mask_of(volume, file);
}

/// values: what the mask's values mean.
ReportPrediction read_prediction(const fs::path& file, const LesionLabels& values, const ReportCase& scan,
                                 const fs::path& label, const LabelMask& target) {
    ReportPrediction read;
    read.lesion_found.resize(static_cast<std::size_t>(scan.lesions.size()));
    if (!fs::exists(file)) return read;
    Geometry geometry;
    std::vector<std::uint8_t> mask = read_mask(file, values, geometry).lesion;
    require_same_geometry(geometry, file, scan.geometry, label);
    // What is marked where nothing is known is neither right nor wrong, as in the records.
    for (std::size_t v = 0; v < target.ignored.size(); ++v)
        if (target.ignored[v]) mask[v] = 0;
    read.present = true;
    const std::vector<float> decided(mask.begin(), mask.end());
    const auto& shape = geometry.shape;
    const Instances instances =
        find_instances({shape[0], shape[1], shape[2], target.lesion.data(), decided.data(), nullptr});
    const InstanceOutcomes outcomes = outcomes_of(instances);
    for (std::size_t l = 0; l < outcomes.lesions.size(); ++l)
        read.lesion_found[l] = outcomes.lesions[l] == Outcome::found;
    for (const Outcome outcome : outcomes.detections)
        read.detection_false.push_back(outcome == Outcome::false_positive);
    read.detections = list_components(mask, shape, DetectionRule::connectivity);
    read.dice = Overlap{instances.shared_voxels(), instances.lesion_voxels(), instances.detection_voxels()}.dice();
    return read;
}

ReportCase read_case(const ReportData& data, const std::string& name) {
    const Case& scan = data.dataset.find(name);
    if (!scan.label)
        throw InputError(
            fmt::format("{}: records name the scan {}, which has no label there", data.dataset.folder.string(), name));
    ReportCase read;
    read.name = name;
    const LesionLabels meaning(data.dataset.label_names, data.runs.front().config.labels);
    const LabelMask target = read_mask(*scan.label, meaning, read.geometry);
    read.lesions = list_components(target.lesion, read.geometry.shape, DetectionRule::connectivity);
    for (const ReportRun& run : data.runs) {
        const auto mask =
            find_prediction_file(RunFiles(run.folder).predictions(), name, data.of_class.empty() ? "mask" : "");
        read.predictions.push_back(read_prediction(mask.value_or(""), data.of_class.empty() ? LesionLabels() : meaning,
                                                   read, *scan.label, target));
    }
    return read;
}

}  // namespace

std::int64_t ReportCase::misses() const {
    std::int64_t sum = 0;
    for (const auto& run : predictions)
        if (run.present) sum += std::count(run.lesion_found.begin(), run.lesion_found.end(), false);
    return sum;
}

std::int64_t ReportCase::false_positives() const {
    std::int64_t sum = 0;
    for (const auto& run : predictions) sum += std::count(run.detection_false.begin(), run.detection_false.end(), true);
    return sum;
}

double ReportData::mean_dice(std::size_t run) const {
    double sum = 0;
    std::int64_t scans = 0;
    for (const ReportCase& scan : cases)
        if (scan.predictions[run].present) {
            sum += scan.predictions[run].dice;
            ++scans;
        }
    return scans ? sum / static_cast<double>(scans) : std::numeric_limits<double>::quiet_NaN();
}

LesionCounts ReportData::mask_counts(std::size_t run) const {
    LesionCounts counts;
    for (const ReportCase& scan : cases) {
        const ReportPrediction& prediction = scan.predictions[run];
        if (!prediction.present) continue;
        const auto& [found, wrong] = std::tie(prediction.lesion_found, prediction.detection_false);
        counts.lesions += scan.lesions.size();
        counts.found += std::count(found.begin(), found.end(), true);
        counts.false_positives += std::count(wrong.begin(), wrong.end(), true);
    }
    return counts;
}

ReportData read_report_data(const fs::path& dataset, const std::vector<RunForReport>& runs,
                            const LabelClass* of_class) {
    if (runs.empty()) throw InputError("a report needs at least one run, and none was given");
    ReportData data;
    data.dataset = open_dataset(dataset);
    if (of_class) data.of_class = of_class->name;
    for (const RunForReport& run : runs) data.runs.push_back(read_run(run, of_class));
    std::set<std::string> names;
    for (const ReportRun& run : data.runs)
        for (const auto& [name, records] : run.records) names.insert(name);
    for (const std::string& name : names) data.cases.push_back(read_case(data, name));
    std::stable_sort(data.cases.begin(), data.cases.end(), [](const ReportCase& a, const ReportCase& b) {
        return std::tuple(-a.misses(), -a.false_positives()) < std::tuple(-b.misses(), -b.false_positives());
    });
    return data;
}

}  // namespace iwseg
