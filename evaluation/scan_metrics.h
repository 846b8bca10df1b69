#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "evaluation/instances.h"
#include "evaluation/surface_distance.h"

namespace iwseg {

/// One scan as metrics of whole scans see it: all lesions together against all detections together.
class MeasuredScan {
  public:
    /// spacing: mm a voxel along D, H, W. host: the threads that compute; none: the calling one. instances outlive it.
    MeasuredScan(const Instances& instances, const std::array<double, 3>& spacing, Stream host = {})
        : instances_(instances), spacing_(spacing), host_(host) {}

    const Instances& instances() const { return instances_; }
    double voxel_ml() const { return spacing_[0] * spacing_[1] * spacing_[2] / 1000; }
    /// Of the two masks, computed once for all metrics that ask; without surfels where a mask is empty.
    const SurfaceDistances& surfaces();

  private:
    const Instances& instances_;
    std::array<double, 3> spacing_;
    Stream host_;
    std::optional<SurfaceDistances> surfaces_;
};

/// A number of a report: under which metric and key it is written, and its column in the table, empty where it has
/// none.
struct MetricValue {
    const char* metric;
    const char* key;
    const char* column;
    double value;  ///< NaN where there is none
    bool is_count = false;
};

/// A number that a metric is computed with and users may choose.
struct MetricOption {
    const char* flag;  ///< of iwseg evaluate, without its dashes
    const char* key;   ///< in metrics.json
    const char* help;
    double value = 0;  ///< where none is chosen
    double least = 0;
};

/// A metric of whole scans, as docs/evaluation.md defines it.
struct ScanMetric {
    const char* name;
    bool surfaces;  ///< asks for them, which takes memory
    std::vector<MetricValue> (*measure)(MeasuredScan& scan, double option);
    std::optional<MetricOption> option{};
};

/// The one table of them: evaluate's options, measuring, metrics.json and its table go by it.
const std::vector<ScanMetric>& scan_metrics();

}  // namespace iwseg
