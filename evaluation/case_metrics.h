#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evaluation/instances.h"
#include "evaluation/lesion_size.h"
#include "evaluation/lesionwise_dice.h"
#include "evaluation/panoptic.h"
#include "evaluation/picai.h"
#include "evaluation/scan_metrics.h"

namespace iwseg {

/// Which metrics are wanted beyond the lesion records; their definitions are in docs/evaluation.md.
struct MetricOptions {
    bool panoptic = false, brats = false, picai = false;  ///< those that match lesions and detections
    std::vector<std::string> scan;                        ///< names of those of whole scans (scan_metrics)
    std::map<std::string, double> scan_options;           ///< by MetricOption::key, where one is chosen
    LesionwiseOptions lesionwise;
    SizeUnit size_unit = SizeUnit::mm;  ///< of the diameters by which measure_case's lesions are told apart

    bool any() const { return panoptic || brats || picai || !scan.empty(); }
    bool wants(const ScanMetric& metric) const;
    bool wants_surfaces() const;  ///< of any metric of whole scans
    /// What that metric is computed with; 0 where it has no option.
    double option_of(const ScanMetric& metric) const;
};

/// Names of all metrics: panoptic, brats, picai, then those of whole scans.
std::vector<std::string> metric_names();

/// From some of the metric_names, or all. Throws InputError naming the nearest where one is unknown.
MetricOptions metric_options(const std::vector<std::string>& names);

/// What was measured of one scan: the metrics that were asked for.
struct CaseMetrics {
    std::optional<PanopticMatches> panoptic;
    std::optional<LesionwiseMatches> brats;
    std::optional<PicaiMatches> picai;
    std::vector<MetricValue> scan;  ///< in the order of scan_metrics
};

/// spacing: mm a voxel along D, H, W. host: the threads that compute; none: the calling one.
CaseMetrics measure_case(const Instances& instances, const std::array<double, 3>& spacing, const MetricOptions& options,
                         Stream host = {});

}  // namespace iwseg
