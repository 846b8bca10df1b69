#include "evaluation/panoptic.h"

#include <gtest/gtest.h>

#include "tests/evaluation/metric_scans.h"

namespace iwseg {
namespace {

TEST(PanopticQuality, EqualsPanoptica) {
    for (const auto& golden : metrics_golden().at("scans")) {
        SCOPED_TRACE(golden.at("name").get<std::string>());
        const PanopticQuality quality = panoptic_quality(match_panoptic(golden_scan(golden).instances()));
        const auto& expected = golden.at("panoptica");
        EXPECT_EQ(expected.at("tp"), quality.true_positives);
        EXPECT_EQ(expected.at("fp"), quality.false_positives);
        EXPECT_EQ(expected.at("fn"), quality.false_negatives);
        EXPECT_METRIC(expected.at("rq"), quality.recognition);
        EXPECT_METRIC(expected.at("sq"), quality.segmentation);
        EXPECT_METRIC(expected.at("pq"), quality.panoptic);
    }
}

TEST(PanopticQuality, LesionsThatTouchAtACornerAreOne) {
    MetricScan scan({2, 2, 2});
    scan.target[scan.at(0, 0, 0)] = scan.target[scan.at(1, 1, 1)] = 1;
    EXPECT_EQ(scan.instances().lesions.size(), 1u);
}

TEST(PanopticQuality, OverlapOfExactlyOneHalfMatches) {
    MetricScan scan({1, 1, 20});
    scan.lesion(0, 6);
    scan.detect(2, 8, 0.9f);  // 4 shared of 8
    EXPECT_EQ(panoptic_quality(match_panoptic(scan.instances())).true_positives, 1);
    scan.detect(8, 9, 0.9f);  // of 9
    EXPECT_EQ(panoptic_quality(match_panoptic(scan.instances())).true_positives, 0);
}

TEST(PanopticQuality, OneDetectionMatchesOneLesionOnly) {
    MetricScan scan({1, 1, 12});
    scan.lesion(0, 3);
    scan.lesion(4, 8);
    scan.detect(0, 8, 0.9f);  // IoU 3/8 and 4/8
    const PanopticQuality quality = panoptic_quality(match_panoptic(scan.instances(), 0.3));
    EXPECT_EQ(quality.true_positives, 1);
    EXPECT_EQ(quality.false_negatives, 1);
    EXPECT_EQ(quality.false_positives, 0);
    EXPECT_NEAR(quality.segmentation, 0.5, 1e-15);  // the higher of the two
}

TEST(PanopticQuality, StrataSplitLesionsAndFalsePositivesByTheirOwnSize) {
    MetricScan scan({1, 1, 40});
    scan.lesion(0, 1);
    scan.lesion(5, 15);
    scan.detect(5, 15, 0.9f);
    scan.detect(20, 28, 0.9f);  // 8 voxels: diameter 2.48
    scan.detect(30, 31, 0.9f);
    const PanopticMatches matches = match_panoptic(scan.instances());
    const auto ranges = size_ranges({2.0, 3.0});
    const PanopticQuality small = panoptic_quality(matches, ranges[0]), large = panoptic_quality(matches, ranges[1]);
    EXPECT_EQ(small.false_negatives, 1);
    EXPECT_EQ(small.false_positives, 1);
    EXPECT_EQ(small.true_positives, 0);
    EXPECT_EQ(large.true_positives, 1);
    EXPECT_EQ(large.false_positives, 1);
    EXPECT_EQ(small.panoptic, 0);
    EXPECT_NEAR(large.panoptic, 1 / 1.5, 1e-15);
}

TEST(Instances, TableEqualsCountsVoxelByVoxel) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 100; ++round) {
        const MetricScan scan = random_metric_scan(random);
        const Instances found = scan.instances();
        std::vector<std::vector<std::int64_t>> shared(found.lesions.size() + 1,
                                                      std::vector<std::int64_t>(found.detections.size() + 1));
        std::vector<float> largest(found.detections.size() + 1, 0.0f);
        for (std::int64_t d = 0; d < scan.shape[0]; ++d)
            for (std::int64_t h = 0; h < scan.shape[1]; ++h)
                for (std::int64_t w = 0; w < scan.shape[2]; ++w) {
                    const auto v = static_cast<std::size_t>(scan.at(d, h, w));
                    const auto lesion = found.lesion_labels[v], detection = found.detection_labels[v];
                    EXPECT_EQ(lesion != 0, scan.target[v] != 0);
                    EXPECT_EQ(detection != 0, scan.probability[v] > 0.5f);
                    ++shared[lesion][detection];
                    largest[detection] = std::max(largest[detection], scan.probability[v]);
                    if (lesion == 0) continue;
                    const Box& box = found.lesions[lesion - 1].box;
                    EXPECT_TRUE(d >= box.first[0] && d <= box.last[0] && h >= box.first[1] && h <= box.last[1] &&
                                w >= box.first[2] && w <= box.last[2]);
                }
        std::size_t pairs = 0;
        for (std::size_t lesion = 1; lesion < shared.size(); ++lesion)
            for (std::size_t detection = 1; detection < largest.size(); ++detection) {
                if (shared[lesion][detection] == 0) continue;
                ASSERT_LT(pairs, found.overlaps.size());
                EXPECT_EQ(found.overlaps[pairs].lesion, static_cast<std::int32_t>(lesion));
                EXPECT_EQ(found.overlaps[pairs].detection, static_cast<std::int32_t>(detection));
                EXPECT_EQ(found.overlaps[pairs++].voxels, shared[lesion][detection]);
            }
        EXPECT_EQ(pairs, found.overlaps.size());
        for (std::size_t detection = 1; detection < largest.size(); ++detection)
            EXPECT_EQ(found.largest_probability[detection - 1], largest[detection]);
    }
}

}  // namespace
}  // namespace iwseg
