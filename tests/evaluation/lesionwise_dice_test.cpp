#include "evaluation/lesionwise_dice.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/evaluation/metric_scans.h"

namespace iwseg {
namespace {

TEST(LesionwiseDice, EqualsBraTS2023) {
    struct Challenge {
        const char* name;
        LesionwiseOptions options;
    };
    for (const auto& [name, options] :
         {Challenge{"BraTS-MET", {.dilation = 1, .volume = 2}}, Challenge{"BraTS-GLI", {.dilation = 3, .volume = 50}}})
        for (const auto& golden : metrics_golden().at("scans")) {
            SCOPED_TRACE(std::string(name) + " " + golden.at("name").get<std::string>());
            const LesionwiseScore score = lesionwise_score(
                match_lesionwise(golden_scan(golden).instances(), golden_spacing(golden), options), options);
            const auto& expected = golden.at("brats").at(name);
            EXPECT_EQ(expected.at("tp"), score.true_positives);
            EXPECT_EQ(expected.at("fp"), score.false_positives);
            EXPECT_EQ(expected.at("fn"), score.false_negatives);
            EXPECT_METRIC(expected.at("dice"), score.dice);
            EXPECT_METRIC(expected.at("hd95"), score.hd95);
        }
}

LesionwiseScore score_of(const MetricScan& scan, const LesionwiseOptions& options) {
    return lesionwise_score(match_lesionwise(scan.instances(), {1, 1, 1}, options), options);
}

TEST(LesionwiseDice, LesionsThatGrowTogetherAreOne) {
    MetricScan scan({1, 1, 20});
    scan.lesion(0, 3);
    scan.lesion(5, 8);  // two voxels between them
    const auto lesions = [&](int dilation) {
        return match_lesionwise(scan.instances(), {1, 1, 1}, {.dilation = dilation, .volume = 0}).lesions.size();
    };
    EXPECT_EQ(lesions(0), 2u);
    EXPECT_EQ(lesions(1), 1u);
    EXPECT_NEAR(match_lesionwise(scan.instances(), {1, 2, 3}, {.dilation = 1}).lesions[0].volume, 36, 1e-12);
}

TEST(LesionwiseDice, ADetectionBesideALesionIsFoundButHasNoOverlap) {
    MetricScan scan({1, 1, 20});
    scan.lesion(0, 3);
    scan.detect(3, 5, 0.9f);
    const LesionwiseScore score = score_of(scan, {.dilation = 1, .volume = 0});
    EXPECT_EQ(score.true_positives, 1);
    EXPECT_EQ(score.false_positives, 0);
    EXPECT_EQ(score.dice, 0);
    EXPECT_LT(score.hd95, 10);
    EXPECT_EQ(score_of(scan, {.dilation = 0, .volume = 0}).false_positives, 1);
}

TEST(LesionwiseDice, ASmallLesionIsLeftOutButItsDetectionIsNotAFalsePositive) {
    MetricScan scan({1, 1, 20});
    scan.lesion(0, 2);
    scan.detect(0, 2, 0.9f);
    const LesionwiseScore score = score_of(scan, {});
    EXPECT_EQ(score.true_positives + score.false_positives + score.false_negatives, 0);
    EXPECT_EQ(score.dice, 1);
    EXPECT_EQ(score.hd95, 0);
}

TEST(LesionwiseDice, MissesAndFalsePositivesCostTheFullDistance) {
    MetricScan scan({1, 1, 40});
    scan.lesion(0, 4);
    scan.detect(0, 4, 0.9f);
    scan.lesion(10, 14);
    scan.detect(20, 21, 0.9f);  // no volume is too small for a false positive
    const LesionwiseScore score = score_of(scan, {});
    EXPECT_NEAR(score.dice, 1.0 / 3, 1e-15);
    EXPECT_NEAR(score.hd95, 2 * 374.0 / 3, 1e-12);
}

TEST(LesionwiseDice, GrowsLikeTheScansBorderAllows) {
    MetricScan scan({2, 3, 4});
    scan.target[scan.at(0, 0, 3)] = 1;  // the next voxel in memory is in another row
    scan.probability[scan.at(0, 1, 0)] = 0.9f;
    const LesionwiseScore score = score_of(scan, {.dilation = 1, .volume = 0});
    EXPECT_EQ(score.false_positives, 1);
    EXPECT_EQ(score.false_negatives, 1);
}

TEST(LesionwiseDice, GrowsOverFacesAndEdgesNotOverCorners) {
    MetricScan scan({4, 4, 4});
    scan.target[scan.at(1, 1, 1)] = 1;
    scan.probability[scan.at(2, 2, 2)] = 0.9f;
    EXPECT_EQ(score_of(scan, {.dilation = 1, .volume = 0}).true_positives, 0);
    scan.probability[scan.at(2, 2, 1)] = 0.9f;
    EXPECT_EQ(score_of(scan, {.dilation = 1, .volume = 0}).true_positives, 1);
}

TEST(LesionwiseDice, RefusesNegativeOptions) {
    const MetricScan scan({1, 1, 1});
    EXPECT_THROW(score_of(scan, {.dilation = -1}), InputError);
    EXPECT_THROW(score_of(scan, {.volume = std::nan("")}), InputError);
}

}  // namespace
}  // namespace iwseg
