#include "evaluation/case_metrics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/nearest_name.h"

namespace iwseg {

namespace {

double& diameter_in(double& false_positive) {
    return false_positive;
}
double& diameter_in(PicaiMatches::FalsePositive& false_positive) {
    return false_positive.diameter;
}

/// Those that match lesions and detections, and so pool and go by size.
constexpr std::pair<const char*, bool MetricOptions::*> kMatchingMetrics[] = {
    {"panoptic", &MetricOptions::panoptic}, {"brats", &MetricOptions::brats}, {"picai", &MetricOptions::picai}};

void scale_diameters(auto& matches, double unit) {
    for (auto& lesion : matches.lesions) lesion.diameter *= unit;
    for (auto& false_positive : matches.false_positives) diameter_in(false_positive) *= unit;
}

}  // namespace

bool MetricOptions::wants(const ScanMetric& metric) const {
    return std::find(scan.begin(), scan.end(), metric.name) != scan.end();
}

bool MetricOptions::wants_surfaces() const {
    return std::any_of(scan_metrics().begin(), scan_metrics().end(),
                       [&](const ScanMetric& metric) { return metric.surfaces && wants(metric); });
}

double MetricOptions::option_of(const ScanMetric& metric) const {
    if (!metric.option) return 0;
    const auto chosen = scan_options.find(metric.option->key);
    return chosen == scan_options.end() ? metric.option->value : chosen->second;
}

std::vector<std::string> metric_names() {
    std::vector<std::string> names;
    for (const auto& [name, member] : kMatchingMetrics) names.emplace_back(name);
    for (const ScanMetric& metric : scan_metrics()) names.emplace_back(metric.name);
    return names;
}

MetricOptions metric_options(const std::vector<std::string>& names) {
    MetricOptions options;
    const std::vector<std::string> known = metric_names();
    for (const std::string& name : names) {
        const bool all = name == "all";
        if (!all && std::find(known.begin(), known.end(), name) == known.end()) {
            std::vector<std::string> spelled{"all"};
            spelled.insert(spelled.end(), known.begin(), known.end());
            const std::string nearest = nearest_name(name, spelled);
            throw InputError(fmt::format("there is no metric '{}'{} (expected {} or all)", name,
                                         nearest.empty() ? "" : "; did you mean " + nearest + "?",
                                         fmt::join(known, ", ")));
        }
        for (const auto& [known_name, member] : kMatchingMetrics)
            if (all || name == known_name) options.*member = true;
        for (const ScanMetric& metric : scan_metrics())
            if ((all || name == metric.name) && !options.wants(metric)) options.scan.emplace_back(metric.name);
    }
    return options;
}

CaseMetrics measure_case(const Instances& instances, const std::array<double, 3>& spacing, const MetricOptions& options,
                         Stream host) {
    const double unit =
        options.size_unit == SizeUnit::mm ? std::cbrt(spacing[0] * spacing[1] * spacing[2]) : 1;  // a voxel
    CaseMetrics metrics;
    if (options.panoptic) scale_diameters(metrics.panoptic.emplace(match_panoptic(instances)), unit);
    if (options.brats)
        scale_diameters(metrics.brats.emplace(match_lesionwise(instances, spacing, options.lesionwise, host)), unit);
    if (options.picai) scale_diameters(metrics.picai.emplace(match_picai(instances)), unit);
    MeasuredScan scan(instances, spacing, host);
    for (const ScanMetric& metric : scan_metrics()) {
        if (!options.wants(metric)) continue;
        const std::vector<MetricValue> values = metric.measure(scan, options.option_of(metric));
        metrics.scan.insert(metrics.scan.end(), values.begin(), values.end());
    }
    return metrics;
}

}  // namespace iwseg
