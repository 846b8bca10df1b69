#include "evaluation/surface_dice.h"

namespace iwseg {

double surface_dice(const SurfaceDistances& distances, double tolerance) {
    double near = 0, all = 0;
    for (const auto* surface : {&distances.from_target, &distances.from_prediction})
        for (const Surfel& surfel : *surface) {
            all += surfel.area;
            if (surfel.distance <= tolerance) near += surfel.area;
        }
    return all == 0 ? 1 : near / all;
}

std::vector<MetricValue> measure_surface_dice(MeasuredScan& scan, double tolerance) {
    return {{"nsd", "nsd", "NSD", surface_dice(scan.surfaces(), tolerance)}};
}

}  // namespace iwseg
