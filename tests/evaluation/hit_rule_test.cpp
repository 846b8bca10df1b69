#include "evaluation/hit_rule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "evaluation/froc.h"
#include "evaluation/instances.h"
#include "evaluation/metrics.h"

namespace iwseg {
namespace {

/// Lesions and detections are lines of voxels along W.
struct Scan {
    std::int64_t d = 1, h = 1, w = 1;
    std::vector<std::uint8_t> target = std::vector<std::uint8_t>(d * h * w);
    std::vector<float> probability = std::vector<float>(d * h * w);

    void lesion(std::int64_t first, std::int64_t count) { std::fill_n(target.begin() + first, count, 1); }
    void detection(std::int64_t first, std::int64_t count, float p = 0.9f) {
        std::fill_n(probability.begin() + first, count, p);
    }
    ScanToEvaluate scan() const { return {d, h, w, target.data(), probability.data()}; }
    std::vector<Record> records() const { return lesion_records(scan()); }
    std::vector<Outcome> outcomes() const { return outcomes_of(records()); }
};

TEST(HitRule, ABlobOverHalfTheScanFindsNothing) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Records records;
    for (const char* name : {"a", "b", "c"}) {
        Scan scan{24, 24, 24};
        for (int lesion = 0; lesion < 15; ++lesion)  // rods of at most 2 % of the blob
            scan.lesion(24 * static_cast<std::int64_t>(random() % 576) + 2,
                        3 + static_cast<std::int64_t>(random() % 20));
        scan.detection(0, 24 * 24 * 24 / 2, 0.99f);
        records[name] = scan.records();
    }
    const Froc corrected = compute_froc(records, {.draws = 50});
    EXPECT_EQ(corrected.all_recall, 0);
    EXPECT_EQ(corrected.average_recall.value, 0);
    EXPECT_EQ(corrected.average_recall.high, 0);
    EXPECT_EQ(corrected.luna_score.value, 0);
    EXPECT_EQ(corrected.all_false_positives, 1);  // the blob itself, a scan
    EXPECT_TRUE(covers_too_much(corrected.volume_ratio));
    // The published protocol finds every lesion of that half, at no false positive.
    const Froc paper = compute_froc(records, {.protocol = FrocProtocol::paper});
    EXPECT_GT(paper.all_recall, 0.2);
    EXPECT_EQ(paper.all_false_positives, 0);
}

TEST(HitRule, AnIntersectionOfATenthOfTheUnionIsAHit) {
    Scan scan{1, 1, 60};
    scan.lesion(0, 10);
    scan.detection(3, 1);  // 1 / 10
    scan.lesion(20, 11);
    scan.detection(22, 1);  // 1 / 11, within the lesion
    scan.lesion(40, 1);
    scan.detection(40, 11);  // 1 / 11, of which ten voxels outside
    EXPECT_EQ(scan.outcomes(), (std::vector<Outcome>{Outcome::found, Outcome::missed, Outcome::missed, Outcome::hit,
                                                     Outcome::part, Outcome::false_positive}));
}

TEST(HitRule, ALesionHitTwiceCountsOnceAndItsCrumbsAreNoFalsePositives) {
    Scan scan{1, 1, 80};
    scan.lesion(0, 40);
    scan.detection(0, 10);  // found by this one
    scan.detection(12, 6);  // hits too
    scan.detection(25, 2);  // a crumb inside
    scan.detection(39, 2);  // half inside
    scan.detection(50, 2);  // elsewhere
    const LesionCounts counts = count_lesions(scan.records(), {});
    EXPECT_EQ(counts.lesions, 1);
    EXPECT_EQ(counts.found, 1);
    EXPECT_EQ(counts.false_positives, 1);
    EXPECT_EQ(scan.outcomes(), (std::vector<Outcome>{Outcome::found, Outcome::hit, Outcome::hit, Outcome::part,
                                                     Outcome::part, Outcome::false_positive}));
}

TEST(HitRule, ADetectionOverSeveralLesionsFindsThoseItResembles) {
    Scan scan{1, 1, 60};
    scan.lesion(2, 20);
    scan.lesion(24, 8);
    scan.lesion(34, 2);
    scan.detection(2, 34);  // 20 / 34, 8 / 34, 2 / 34
    EXPECT_EQ(scan.outcomes(), (std::vector<Outcome>{Outcome::found, Outcome::found, Outcome::missed, Outcome::hit}));
}

TEST(HitRule, ADetectionWhoseLesionIsNotInTheRecordsIsAFalsePositive) {
    Scan scan{1, 1, 60};
    scan.lesion(0, 50);
    scan.detection(5, 2);
    std::vector<Record> records = scan.records();
    EXPECT_EQ(outcomes_of(records)[1], Outcome::part);
    records[0].obj = "tum_7";
    EXPECT_EQ(outcomes_of(records)[1], Outcome::false_positive);
}

TEST(HitRule, DetectionsThatAreNotKeptFindNothingAndCountForNothing) {
    Scan scan{1, 1, 60};
    scan.lesion(0, 4);
    scan.detection(0, 2);
    scan.lesion(20, 10);
    scan.detection(20, 8);
    scan.detection(40, 3);
    const auto outcomes =
        outcomes_of(find_instances(scan.scan()), [](const Instance& detection) { return detection.voxels > 2; });
    EXPECT_EQ(outcomes.lesions, (std::vector<Outcome>{Outcome::missed, Outcome::found}));
    EXPECT_EQ(outcomes.detections, (std::vector<Outcome>{Outcome::dropped, Outcome::hit, Outcome::false_positive}));
    EXPECT_EQ(outcomes.found(), 1);
    EXPECT_EQ(outcomes.false_positives(), 1);
}

/// By the rule's words, from the voxels alone.
std::vector<Outcome> slow_outcomes(const Instances& instances) {
    std::vector<Outcome> outcomes(instances.lesions.size(), Outcome::missed);
    std::vector<Outcome> of_detections(instances.detections.size(), Outcome::false_positive);
    std::vector<double> best(instances.detections.size());
    for (const InstanceOverlap& overlap : instances.overlaps) {
        const double iou = overlap_over_union(instances, overlap);
        Outcome& detection = of_detections[overlap.detection - 1];
        if (iou >= 0.1) {
            outcomes[overlap.lesion - 1] = Outcome::found;
            detection = Outcome::hit;
        }
        if (iou <= best[overlap.detection - 1] || detection == Outcome::hit) continue;
        best[overlap.detection - 1] = iou;
        const double own = static_cast<double>(instances.detections[overlap.detection - 1].voxels);
        detection = static_cast<double>(overlap.voxels) >= 0.5 * own ? Outcome::part : Outcome::false_positive;
    }
    outcomes.insert(outcomes.end(), of_detections.begin(), of_detections.end());
    return outcomes;
}

TEST(HitRule, RecordsSayWhatTheVoxelsSay) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::array<int, 5> seen{};
    for (int round = 0; round < 40; ++round) {
        Scan scan{3, 7, 90};
        for (std::int64_t row = 0; row < 21; row += 2)
            for (std::int64_t begin = 0; begin < 60; begin += 30) {
                const auto place = [&](int most) {
                    return row * 90 + begin + static_cast<std::int64_t>(random() % most);
                };
                scan.lesion(place(12), 1 + static_cast<std::int64_t>(random() % 16));
                for (int i = 0; i < 3; ++i)
                    scan.detection(place(25), 1 + static_cast<std::int64_t>(random() % (i == 0 ? 30 : 3)));
            }
        const std::vector<Outcome> expected = slow_outcomes(find_instances(scan.scan()));
        ASSERT_EQ(scan.outcomes(), expected);
        const auto [lesions, detections] = outcomes_of(find_instances(scan.scan()));
        std::vector<Outcome> of_instances = lesions;
        of_instances.insert(of_instances.end(), detections.begin(), detections.end());
        ASSERT_EQ(of_instances, expected);
        for (const Outcome outcome : expected) ++seen[static_cast<std::size_t>(outcome)];
    }
    EXPECT_GT(*std::min_element(seen.begin(), seen.end()), 0);  // every outcome was met
}

}  // namespace
}  // namespace iwseg
