#include "evaluation/case_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/nearest_name.h"
#include "evaluation/surface_distance.h"

namespace iwseg {

namespace {

double& diameter_in(double& false_positive) {
    return false_positive;
}
double& diameter_in(PicaiMatches::FalsePositive& false_positive) {
    return false_positive.diameter;
}

void scale_diameters(auto& matches, double unit) {
    for (auto& lesion : matches.lesions) lesion.diameter *= unit;
    for (auto& false_positive : matches.false_positives) diameter_in(false_positive) *= unit;
}

}  // namespace

MetricOptions metric_options(const std::vector<std::string>& names) {
    MetricOptions options;
    const std::vector<std::pair<std::string, bool MetricOptions::*>> known{
        {"panoptic", &MetricOptions::panoptic}, {"brats", &MetricOptions::brats}, {"picai", &MetricOptions::picai},
        {"dice", &MetricOptions::dice},         {"hd95", &MetricOptions::hd95},   {"volume", &MetricOptions::volume}};
    for (const std::string& name : names) {
        bool found = false;
        for (const auto& [known_name, member] : known)
            if (name == "all" || name == known_name) options.*member = found = true;
        if (found) continue;
        std::vector<std::string> spelled{"all"};
        for (const auto& entry : known) spelled.push_back(entry.first);
        const std::string nearest = nearest_name(name, spelled);
        throw InputError("there is no metric '" + name + "'" +
                         (nearest.empty() ? "" : "; did you mean " + nearest + "?") +
                         " (expected all, panoptic, brats, picai, dice, hd95 or volume)");
    }
    return options;
}

double SegmentedVolume::absolute_error() const {
    return std::abs(prediction - target);
}

double SegmentedVolume::relative_error() const {
    return target == 0 ? std::numeric_limits<double>::quiet_NaN() : (prediction - target) / target;
}

double scan_hd95(const Instances& instances, const std::array<double, 3>& spacing, Stream host) {
    if (instances.lesions.empty() != instances.detections.empty()) return std::numeric_limits<double>::infinity();
    if (instances.lesions.empty()) return 0;
    Box box = instances.lesions.front().box;
    for (const Instance& lesion : instances.lesions) box.include(lesion.box);
    for (const Instance& detection : instances.detections) box.include(detection.box);
    return robust_hausdorff(
        surface_distances(cut_masks(
                              instances.shape, box, [&](std::int64_t v) { return instances.lesion_labels[v] != 0; },
                              [&](std::int64_t v) { return instances.detection_labels[v] != 0; }),
                          spacing, host));
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
    if (options.dice)
        metrics.dice = Overlap{instances.shared_voxels(), instances.lesion_voxels(), instances.detection_voxels()};
    if (options.hd95) metrics.hd95 = scan_hd95(instances, spacing, host);
    if (options.volume) {
        const double voxel = spacing[0] * spacing[1] * spacing[2] / 1000;
        metrics.volume = SegmentedVolume{static_cast<double>(instances.lesion_voxels()) * voxel,
                                         static_cast<double>(instances.detection_voxels()) * voxel};
    }
    return metrics;
}

}  // namespace iwseg
