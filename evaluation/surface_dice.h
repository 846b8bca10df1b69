#pragma once

#include <vector>

#include "evaluation/scan_metrics.h"

namespace iwseg {

/// The share of both surfaces together, by area, that lies within `tolerance` mm (at it, too) of the other surface:
/// normalised surface distance, or surface Dice (Nikolov et al., JMIR 2021; compute_surface_dice_at_tolerance of
/// DeepMind's surface-distance). Surfaces have the areas of evaluation/surface_distance.h, where MONAI and others count
/// boundary voxels. 1 where neither mask has a surface, 0 where one has none.
double surface_dice(const SurfaceDistances& distances, double tolerance);

/// As a metric of whole scans.
std::vector<MetricValue> measure_surface_dice(MeasuredScan& scan, double tolerance);

}  // namespace iwseg
