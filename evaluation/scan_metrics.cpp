#include "evaluation/scan_metrics.h"

#include <cmath>
#include <limits>

#include "evaluation/metrics.h"
#include "evaluation/surface_dice.h"

namespace iwseg {
namespace {

std::vector<MetricValue> measure_dice(MeasuredScan& scan, double) {
    const Instances& instances = scan.instances();
    const Overlap overlap{instances.shared_voxels(), instances.lesion_voxels(), instances.detection_voxels()};
    return {{"dice", "dice", "Dice", overlap.dice()}};
}

/// Infinity where one side is empty, 0 where both are.
std::vector<MetricValue> measure_hd95(MeasuredScan& scan, double) {
    const bool empty = scan.instances().lesions.empty() && scan.instances().detections.empty();
    return {{"hd95", "hd95", "HD95", empty ? 0 : robust_hausdorff(scan.surfaces())}};
}

std::vector<MetricValue> measure_volume(MeasuredScan& scan, double) {
    const double target = static_cast<double>(scan.instances().lesion_voxels()) * scan.voxel_ml(),
                 prediction = static_cast<double>(scan.instances().detection_voxels()) * scan.voxel_ml();
    const double relative = target == 0 ? std::numeric_limits<double>::quiet_NaN() : (prediction - target) / target;
    return {{"volume", "target_ml", "target ml", target},
            {"volume", "prediction_ml", "", prediction},
            {"volume", "absolute_error_ml", "error ml", std::abs(prediction - target)},
            {"volume", "relative_error", "relative", relative}};
}

}  // namespace

const SurfaceDistances& MeasuredScan::surfaces() {
    if (surfaces_) return *surfaces_;
    surfaces_.emplace();
    std::vector<Instance> all = instances_.lesions;
    all.insert(all.end(), instances_.detections.begin(), instances_.detections.end());
    if (all.empty()) return *surfaces_;
    Box box = all.front().box;
    for (const Instance& instance : all) box.include(instance.box);
    return *surfaces_ = surface_distances(
               cut_masks(
                   instances_.shape, box, [&](std::int64_t v) { return instances_.lesion_labels[v] != 0; },
                   [&](std::int64_t v) { return instances_.detection_labels[v] != 0; }),
               spacing_, host_);
}

const std::vector<ScanMetric>& scan_metrics() {
    static const std::vector<ScanMetric> metrics{
        {"dice", false, measure_dice},
        {"hd95", true, measure_hd95},
        {"volume", false, measure_volume},
        {"nsd",
         true,
         measure_surface_dice,
         {{"nsd-tolerance", "nsd_tolerance_mm", "mm within which nsd takes two surfaces for the same", 1.0, 0.0}}},
    };
    return metrics;
}

}  // namespace iwseg
