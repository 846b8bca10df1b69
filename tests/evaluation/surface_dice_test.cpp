#include "evaluation/surface_dice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "evaluation/case_metrics.h"
#include "tests/evaluation/metric_scans.h"

namespace iwseg {
namespace {

double nsd_of(const MetricScan& scan, const std::array<double, 3>& spacing, double tolerance) {
    MetricOptions options = metric_options({"nsd"});
    options.scan_options["nsd_tolerance_mm"] = tolerance;
    return metric_value(measure_case(scan.instances(), spacing, options), "nsd", "nsd");
}

/// By the definition, pair by pair: the corners between eight voxels that differ, in all of the scan and around it,
/// each with its marching-cubes area and its nearest corner of the other mask.
double defined_nsd(const MetricScan& scan, const std::array<double, 3>& spacing, double tolerance) {
    struct Corner {
        std::array<double, 3> place;
        double area;
    };
    const std::array<double, 256> areas = surface_areas(spacing);
    const auto surface = [&](const auto& inside) {
        std::vector<Corner> corners;
        for (std::int64_t d = 0; d <= scan.shape[0]; ++d)
            for (std::int64_t h = 0; h <= scan.shape[1]; ++h)
                for (std::int64_t w = 0; w <= scan.shape[2]; ++w) {
                    unsigned code = 0;
                    for (int voxel = 0; voxel < 8; ++voxel) {
                        const std::int64_t a = d - 1 + (voxel >> 2), b = h - 1 + (voxel >> 1 & 1),
                                           c = w - 1 + (voxel & 1);
                        const bool there =
                            a >= 0 && b >= 0 && c >= 0 && a < scan.shape[0] && b < scan.shape[1] && c < scan.shape[2];
                        code = code << 1 | static_cast<unsigned>(there && inside(scan.at(a, b, c)));
                    }
                    if (code != 0 && code != 255)
                        corners.push_back({{static_cast<double>(d) * spacing[0], static_cast<double>(h) * spacing[1],
                                            static_cast<double>(w) * spacing[2]},
                                           areas[code]});
                }
        return corners;
    };
    const auto target = surface([&](std::int64_t v) { return scan.target[v] != 0; });
    const auto prediction = surface([&](std::int64_t v) { return scan.probability[v] > 0.5f; });
    double near = 0, all = 0;
    const auto add = [&](const std::vector<Corner>& from, const std::vector<Corner>& to) {
        for (const Corner& corner : from) {
            all += corner.area;
            const bool is_near = std::any_of(to.begin(), to.end(), [&](const Corner& other) {
                return std::hypot(corner.place[0] - other.place[0], corner.place[1] - other.place[1],
                                  corner.place[2] - other.place[2]) <= tolerance;
            });
            if (is_near) near += corner.area;
        }
    };
    add(target, prediction);
    add(prediction, target);
    return all == 0 ? 1 : near / all;
}

TEST(SurfaceDice, EqualsItsDefinitionInDoublePrecision) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 60; ++round) {
        const MetricScan scan = random_metric_scan(random);
        // No two corners are exactly as far apart as the tolerances, where rounding would decide.
        const std::array<double, 3> spacing{0.71, 1.13, 2.97};
        for (const double tolerance : {0.0, 0.5, 1.0, 2.0, 5.0})
            EXPECT_NEAR(nsd_of(scan, spacing, tolerance), defined_nsd(scan, spacing, tolerance), 1e-12)
                << tolerance;  // sums of some thousand areas in another order
    }
}

TEST(SurfaceDice, EqualsSurfaceDistance) {
    int compared = 0;
    for (const auto& golden : metrics_golden().at("scans")) {
        SCOPED_TRACE(golden.at("name").get<std::string>());
        for (const auto& [tolerance, expected] : golden.at("nsd").items()) {
            EXPECT_METRIC(expected, nsd_of(golden_scan(golden), golden_spacing(golden), std::stod(tolerance)));
            ++compared;
        }
    }
    EXPECT_GE(compared, 150);
}

TEST(SurfaceDice, IsOneWhereBothAreEmptyAndZeroWhereOneIs) {
    MetricScan scan({3, 4, 5});
    EXPECT_EQ(nsd_of(scan, {1, 1, 1}, 1), 1);
    scan.lesion(0, 1);
    EXPECT_EQ(nsd_of(scan, {1, 1, 1}, 1e9), 0);
    MetricScan other({3, 4, 5});
    other.detect(7, 8, 0.9f);
    EXPECT_EQ(nsd_of(other, {1, 1, 1}, 1e9), 0);
}

TEST(SurfaceDice, OfOneVoxelBesideAnotherFollowsTheSpacing) {
    for (int axis = 0; axis < 3; ++axis) {
        MetricScan scan({5, 5, 5});
        const std::array<double, 3> spacing{0.5, 2, 3};
        std::array<std::int64_t, 3> other{1, 1, 1};
        other[axis] = 2;
        scan.target[scan.at(1, 1, 1)] = 1;
        scan.probability[scan.at(other[0], other[1], other[2])] = 0.9f;
        // Four of each voxel's eight corners are the other's; the rest are one step away.
        EXPECT_NEAR(nsd_of(scan, spacing, spacing[axis] / 2), 0.5, 1e-12);
        EXPECT_EQ(nsd_of(scan, spacing, spacing[axis]), 1);
    }
}

TEST(SurfaceDice, HasAToleranceOfOneMillimetreUnlessAnotherIsChosen) {
    MetricScan scan({1, 1, 9});
    scan.lesion(2, 4);
    scan.detect(2, 5, 0.9f);
    for (const double spacing : {0.9, 1.0, 1.1}) {
        const std::array<double, 3> mm{1, 1, spacing};
        const CaseMetrics metrics = measure_case(scan.instances(), mm, metric_options({"nsd"}));
        EXPECT_EQ(metric_value(metrics, "nsd", "nsd") == 1, spacing <= 1) << spacing;
    }
}

}  // namespace
}  // namespace iwseg
