#include "evaluation/picai.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "evaluation/assignment.h"
#include "tests/evaluation/metric_scans.h"

namespace iwseg {
namespace {

TEST(PicaiHits, EqualPicaiEval) {
    PicaiMatches all;
    for (const auto& golden : metrics_golden().at("scans")) {
        SCOPED_TRACE(golden.at("name").get<std::string>());
        const PicaiMatches matches = match_picai(golden_scan(golden).instances());
        const PicaiScore score = picai_score(matches);
        const auto& expected = golden.at("picai");
        EXPECT_EQ(expected.at("tp"), score.true_positives);
        EXPECT_EQ(expected.at("fp"), score.false_positives);
        EXPECT_EQ(expected.at("fn"), score.false_negatives);
        EXPECT_METRIC(expected.at("ap"), score.average_precision);
        std::vector<double> overlaps;
        for (const auto& lesion : matches.lesions)
            if (lesion.iou > 0) overlaps.push_back(lesion.iou);
        std::sort(overlaps.begin(), overlaps.end());
        ASSERT_EQ(expected.at("overlaps").size(), overlaps.size());
        for (std::size_t i = 0; i < overlaps.size(); ++i)
            EXPECT_NEAR(expected.at("overlaps")[i].get<double>(), overlaps[i], 1e-12);  // the same fraction
        all.append(matches);
    }
    EXPECT_METRIC(metrics_golden().at("picai_ap_of_all"), picai_score(all).average_precision);
}

TEST(PicaiHits, ADetectionThatLostItsLesionIsIgnored) {
    MetricScan scan({1, 1, 20});
    scan.lesion(0, 12);
    scan.detect(0, 4, 0.9f);
    scan.detect(6, 12, 0.6f);
    const PicaiMatches matches = match_picai(scan.instances());
    ASSERT_EQ(matches.lesions.size(), 1u);
    EXPECT_FLOAT_EQ(static_cast<float>(matches.lesions[0].confidence), 0.6f);  // of the larger overlap
    EXPECT_TRUE(matches.false_positives.empty());
}

TEST(PicaiHits, MoreMatchesGoBeforeMoreOverlap) {
    MetricScan scan({1, 1, 30});
    scan.lesion(0, 10);   // shares 7 with the long detection, 2 with the short one
    scan.lesion(11, 18);  // shares 3 with the long detection only
    scan.detect(0, 2, 0.7f);
    scan.probability[2] = 0.1f;
    scan.detect(3, 14, 0.8f);
    const PicaiScore score = picai_score(match_picai(scan.instances()));
    EXPECT_EQ(score.true_positives, 2);
}

TEST(PicaiHits, AveragePrecisionCountsEqualConfidencesTogether) {
    PicaiMatches matches;
    matches.lesions = {{1, 0.5, 0.9}, {1, 0.5, 0.6}, {1, 0, 0}};
    matches.false_positives = {{1, 0.6}, {1, 0.55}};
    // 0.9: precision 1, recall 1/3. 0.6: precision 2/3, recall 2/3. The missed lesion is never reached.
    EXPECT_NEAR(picai_score(matches).average_precision, 1.0 / 3 + 2.0 / 3 / 3, 1e-15);
    EXPECT_EQ(picai_score({{}, matches.false_positives}).average_precision, 0);
    EXPECT_TRUE(std::isnan(picai_score({}).average_precision));
}

TEST(Assignment, IsAsHeavyAsTheHeaviestOfAllPermutations) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 300; ++round) {
        const std::size_t rows = random() % 6, columns = random() % 6, most = std::max(rows, columns);
        std::vector<double> weights(rows * columns);
        for (double& weight : weights) weight = static_cast<double>(random() % 7) / 4;  // many ties
        const auto column_of = heaviest_assignment(weights, rows, columns);
        ASSERT_EQ(column_of.size(), rows);
        double sum = 0;
        std::size_t assigned = 0;
        std::vector<bool> taken(columns);
        for (std::size_t r = 0; r < rows; ++r) {
            if (column_of[r] < 0) continue;
            ASSERT_FALSE(taken[column_of[r]]);
            taken[column_of[r]] = true;
            ++assigned;
            sum += weights[r * columns + column_of[r]];
        }
        EXPECT_EQ(assigned, std::min(rows, columns));
        std::vector<std::size_t> order(most);
        std::iota(order.begin(), order.end(), std::size_t{0});
        double heaviest = 0;
        do {
            double total = 0;
            for (std::size_t r = 0; r < rows; ++r)
                if (order[r] < columns) total += weights[r * columns + order[r]];
            heaviest = std::max(heaviest, total);
        } while (std::next_permutation(order.begin(), order.end()));
        EXPECT_NEAR(sum, heaviest, 1e-12);
    }
}

}  // namespace
}  // namespace iwseg
