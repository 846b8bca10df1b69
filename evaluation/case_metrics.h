#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluation/instances.h"
#include "evaluation/lesion_size.h"
#include "evaluation/lesionwise_dice.h"
#include "evaluation/metrics.h"
#include "evaluation/panoptic.h"
#include "evaluation/picai.h"

namespace iwseg {

/// Which metrics are wanted beyond the lesion records; their definitions are in docs/evaluation.md.
struct MetricOptions {
    bool panoptic = false, brats = false, picai = false, dice = false, hd95 = false, volume = false;
    LesionwiseOptions lesionwise;
    SizeUnit size_unit = SizeUnit::mm;  ///< of the diameters by which measure_case's lesions are told apart

    bool any() const { return panoptic || brats || picai || dice || hd95 || volume; }
};

/// From the names panoptic, brats, picai, dice, hd95, volume, or all. Throws InputError naming the nearest where one is
/// unknown.
MetricOptions metric_options(const std::vector<std::string>& names);

/// How much was segmented, in ml.
struct SegmentedVolume {
    double target = 0, prediction = 0;

    double absolute_error() const;  ///< |prediction - target|
    double relative_error() const;  ///< (prediction - target) / target; NaN without a target
};

/// What was measured of one scan: the metrics that were asked for.
struct CaseMetrics {
    std::optional<PanopticMatches> panoptic;
    std::optional<LesionwiseMatches> brats;
    std::optional<PicaiMatches> picai;
    std::optional<Overlap> dice;
    std::optional<double> hd95;  ///< mm; infinity where one side is empty, 0 where both are
    std::optional<SegmentedVolume> volume;
};

/// spacing: mm a voxel along D, H, W. host: the threads that compute; none: the calling one.
CaseMetrics measure_case(const Instances& instances, const std::array<double, 3>& spacing, const MetricOptions& options,
                         Stream host = {});

/// Between the surfaces of all lesions and of all detections (evaluation/surface_distance.h).
double scan_hd95(const Instances& instances, const std::array<double, 3>& spacing, Stream host = {});

}  // namespace iwseg
