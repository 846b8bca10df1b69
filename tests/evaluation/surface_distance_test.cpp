#include "evaluation/surface_distance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "evaluation/case_metrics.h"
#include "evaluation/distance_transform.h"
#include "tests/evaluation/metric_scans.h"

namespace iwseg {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Between the surfaces of all lesions and of all detections.
double scan_hd95(const Instances& instances, const std::array<double, 3>& spacing) {
    return metric_value(measure_case(instances, spacing, metric_options({"hd95"})), "hd95", "hd95");
}

TEST(DistanceTransform, EqualsTheNearestSeedLookedForOneByOne) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 60; ++round) {
        std::array<std::int64_t, 3> shape;
        std::array<double, 3> spacing;
        for (int axis = 0; axis < 3; ++axis) {
            shape[axis] = 1 + static_cast<std::int64_t>(random() % 19);
            spacing[axis] = 0.1 + static_cast<double>(random() % 1000) / 200;
        }
        std::vector<std::uint8_t> seeds(shape[0] * shape[1] * shape[2]);
        std::vector<std::array<std::int64_t, 3>> places;
        for (std::size_t v = 0; v < seeds.size(); ++v)
            if (random() % (2 + round * 3) == 0) {
                const auto at = static_cast<std::int64_t>(v);
                seeds[v] = 1;
                places.push_back({at / shape[2] / shape[1], at / shape[2] % shape[1], at % shape[2]});
            }
        // Sparse or not at all: what is wanted must come out whatever else is passed over.
        std::vector<std::uint8_t> wanted(seeds.size());
        for (auto& cell : wanted) cell = round % 2 == 0 || random() % 50 == 0;
        const std::vector<double> squares = squared_distances(seeds, wanted, shape, spacing);
        std::size_t v = 0;
        for (std::int64_t d = 0; d < shape[0]; ++d)
            for (std::int64_t h = 0; h < shape[1]; ++h)
                for (std::int64_t w = 0; w < shape[2]; ++w, ++v) {
                    if (!wanted[v]) continue;
                    double nearest = kInfinity;
                    for (const auto& place : places)
                        nearest = std::min(nearest, std::pow(static_cast<double>(d - place[0]) * spacing[0], 2) +
                                                        std::pow(static_cast<double>(h - place[1]) * spacing[1], 2) +
                                                        std::pow(static_cast<double>(w - place[2]) * spacing[2], 2));
                    // Three products added in another order.
                    if (nearest == kInfinity)
                        ASSERT_EQ(squares[v], kInfinity);
                    else
                        ASSERT_NEAR(squares[v], nearest, 1e-13 * nearest);
                }
    }
}

TEST(SurfaceAreas, EqualThePackagesTable) {
    for (const auto& golden : metrics_golden().at("surface_areas")) {
        const auto areas = surface_areas(golden_spacing(golden));
        ASSERT_EQ(golden.at("areas").size(), 256u);
        for (std::size_t code = 0; code < 256; ++code)
            EXPECT_NEAR(golden.at("areas")[code].get<double>(), areas[code], 1e-11) << code;  // kept to 12 decimals
    }
}

TEST(Hausdorff95, EqualsSurfaceDistance) {
    for (const auto& golden : metrics_golden().at("scans")) {
        SCOPED_TRACE(golden.at("name").get<std::string>());
        EXPECT_METRIC(golden.at("hd95"), scan_hd95(golden_scan(golden).instances(), golden_spacing(golden)));
    }
}

TEST(Hausdorff95, IsInfiniteWhereOneSideIsEmptyAndZeroWhereBothAre) {
    MetricScan scan({3, 4, 5});
    EXPECT_EQ(scan_hd95(scan.instances(), {1, 1, 1}), 0);
    scan.lesion(0, 1);
    EXPECT_EQ(scan_hd95(scan.instances(), {1, 1, 1}), kInfinity);
    EXPECT_EQ(robust_hausdorff(surface_distances({{1, 1, 2}, {1, 0}, {0, 0}}, {1, 1, 1})), kInfinity);
}

TEST(Hausdorff95, OfTwoVoxelsIsTheWayBetweenThemInMillimetres) {
    for (int axis = 0; axis < 3; ++axis) {
        MetricScan scan({9, 9, 9});
        const std::array<double, 3> spacing{0.5, 2, 3};
        std::array<std::int64_t, 3> other{1, 1, 1};
        other[axis] = 6;
        scan.target[scan.at(1, 1, 1)] = 1;
        scan.probability[scan.at(other[0], other[1], other[2])] = 0.9f;
        // Half of the corners are 5 apart, and half 4, which is 95 % of the area only with the farther ones.
        EXPECT_NEAR(scan_hd95(scan.instances(), spacing), 5 * spacing[axis], 1e-12);
    }
}

TEST(Hausdorff95, IsTheSameBothWaysRound) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 50; ++round) {
        MetricScan scan = random_metric_scan(random), swapped(scan.shape);
        for (std::size_t v = 0; v < scan.target.size(); ++v) {
            swapped.target[v] = scan.probability[v] > 0.5f;
            swapped.probability[v] = scan.target[v] ? 0.9f : 0.1f;
        }
        const std::array<double, 3> spacing{0.7, 1.1, 2.9};
        EXPECT_EQ(scan_hd95(scan.instances(), spacing), scan_hd95(swapped.instances(), spacing));
    }
}

TEST(SegmentedVolume, IsInMillilitresAndWithoutATargetHasNoRelativeError) {
    MetricScan scan({1, 1, 50});
    scan.detect(0, 30, 0.9f);
    CaseMetrics metrics = measure_case(scan.instances(), {2, 5, 1}, metric_options({"volume", "dice"}));
    EXPECT_NEAR(metric_value(metrics, "volume", "absolute_error_ml"), 0.3, 1e-15);  // 30 voxels of 10 mm³
    EXPECT_TRUE(std::isnan(metric_value(metrics, "volume", "relative_error")));
    EXPECT_EQ(metric_value(metrics, "dice", "dice"), 0);
    EXPECT_FALSE(has_metric(metrics, "hd95") || metrics.panoptic || metrics.brats || metrics.picai);
    scan.lesion(0, 40);
    metrics = measure_case(scan.instances(), {2, 5, 1}, metric_options({"all"}));
    EXPECT_NEAR(metric_value(metrics, "volume", "relative_error"), -0.25, 1e-15);
    EXPECT_NEAR(metric_value(metrics, "dice", "dice"), 60.0 / 70, 1e-15);
    EXPECT_TRUE(has_metric(metrics, "hd95") && metrics.panoptic && metrics.brats && metrics.picai);
}

}  // namespace
}  // namespace iwseg
