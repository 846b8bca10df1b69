#include "apps/prediction/operating_point.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>

#include "base/error.h"
#include "evaluation/hit_rule.h"
#include "evaluation/instances.h"
#include "evaluation/metrics.h"

namespace iwseg {
namespace {

struct Scan {
    std::array<std::int64_t, 3> shape;
    std::array<double, 3> spacing;
    std::vector<std::uint8_t> target, ignored;
    std::vector<float> probability;

    ScanToEvaluate view() const {
        return {shape[0],
                shape[1],
                shape[2],
                target.data(),
                probability.data(),
                nullptr,
                ignored.empty() ? nullptr : ignored.data()};
    }
};

/// Blobs of lesion, most of them predicted, not in the same place and with a probability of their own; and blobs that
/// are no lesion.
Scan random_scan(std::mt19937& random, int lesions, int false_blobs, bool with_ignored) {
    Scan scan{{14, 17, 19}, {1.0, 0.8, 1.7}, {}, {}, {}};
    const std::int64_t voxels = 14 * 17 * 19;
    scan.target.resize(voxels);
    scan.probability.resize(voxels);
    if (with_ignored) scan.ignored.resize(voxels);
    const auto blob = [&](const std::array<double, 3>& centre, double radius, auto&& paint) {
        for (std::int64_t v = 0; v < voxels; ++v) {
            const double d = static_cast<double>(v / (17 * 19)) - centre[0],
                         h = static_cast<double>(v / 19 % 17) - centre[1], w = static_cast<double>(v % 19) - centre[2];
            if (d * d + h * h + w * w <= radius * radius) paint(v);
        }
    };
    std::uniform_real_distribution<double> unit;
    for (int i = 0; i < lesions + false_blobs; ++i) {
        std::array<double, 3> centre{13 * unit(random), 16 * unit(random), 18 * unit(random)};
        const double radius = 0.5 + 2.5 * unit(random);
        if (i < lesions) blob(centre, radius, [&](std::int64_t v) { scan.target[v] = 1; });
        for (double& at : centre) at += unit(random) - 0.5;
        const auto p = static_cast<float>(i < lesions ? 0.2 + 0.8 * unit(random) : 0.9 * unit(random));
        blob(centre, radius * (0.6 + 0.8 * unit(random)),
             [&](std::int64_t v) { scan.probability[v] = std::max(scan.probability[v], p); });
        if (with_ignored && i % 3 == 0) blob(centre, 1.5, [&](std::int64_t v) { scan.ignored[v] = 1; });
    }
    return scan;
}

/// The score of one rule, from masks alone; below any other where no lesion is found.
double score_of(const std::vector<Scan>& scans, const DetectionRule& rule) {
    double lesions = 0, found = 0, false_positives = 0, dice = 0, scans_with_lesions = 0;
    for (const Scan& scan : scans) {
        std::vector<float> probability = scan.probability;
        std::vector<std::uint8_t> target = scan.target;
        for (std::size_t v = 0; v < scan.ignored.size(); ++v)
            if (scan.ignored[v]) probability[v] = 0, target[v] = 0;
        const std::vector<std::uint8_t> mask = detect(probability.data(), scan.shape, scan.spacing, rule);
        const std::vector<float> decided(mask.begin(), mask.end());
        const Instances instances =
            find_instances({scan.shape[0], scan.shape[1], scan.shape[2], target.data(), decided.data(), nullptr});
        const ScanToEvaluate masked{scan.shape[0], scan.shape[1],  scan.shape[2],
                                    target.data(), decided.data(), nullptr};
        for (const Outcome outcome : outcomes_of(lesion_records(masked))) {
            lesions += outcome == Outcome::found || outcome == Outcome::missed;
            found += outcome == Outcome::found;
            false_positives += outcome == Outcome::false_positive;
        }
        if (instances.lesions.empty()) continue;
        ++scans_with_lesions;
        dice += Overlap{instances.shared_voxels(), instances.lesion_voxels(), instances.detection_voxels()}.dice();
    }
    if (found == 0) return -1;
    return (2 * found / (lesions + found + false_positives) + dice / scans_with_lesions) / 2;
}

TEST(OperatingPoint, TheRuleChosenIsTheBestOfAllByBruteForce) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int trial = 0; trial < 4; ++trial) {
        std::vector<Scan> scans;
        for (int i = 0; i < 1 + trial; ++i) scans.push_back(random_scan(random, i == 1 ? 0 : 4, 5, trial % 2 == 1));
        OperatingPointSearch search;
        for (const Scan& scan : scans) search.add(scan.view(), scan.spacing);
        const auto chosen = search.best();
        ASSERT_TRUE(chosen);
        // The same sums in another order: f64 of a few terms.
        constexpr double kTolerance = 1e-9;
        EXPECT_NEAR(chosen->score(), score_of(scans, chosen->rule), kTolerance);
        for (const float threshold : OperatingPointSearch::thresholds())
            for (const double volume : OperatingPointSearch::min_volumes()) {
                const double score = score_of(scans, {threshold, volume});
                const auto off = [](float t) { return std::abs(t - 0.5f); };
                ASSERT_LE(score, chosen->score() + kTolerance) << rule_text({threshold, volume});
                if (score > chosen->score() - kTolerance) {
                    EXPECT_GE(off(threshold), off(chosen->rule.threshold));
                    if (threshold == chosen->rule.threshold) {
                        EXPECT_GE(volume, chosen->rule.min_volume);
                    }
                }
            }
    }
}

TEST(OperatingPoint, ANetworkThatWhispersGetsALowThresholdAndLosesItsSpecks) {
    // One lesion of 27 voxels at p = 0.3; four specks of one voxel at 0.4. Of 1 mm³, the voxel.
    Scan scan{{9, 9, 9}, {1, 1, 1}, std::vector<std::uint8_t>(729), {}, std::vector<float>(729)};
    for (const int d : {0, 1, 2})
        for (const int h : {0, 1, 2})
            for (const int w : {0, 1, 2}) {
                scan.target[(d * 9 + h) * 9 + w] = 1;
                scan.probability[(d * 9 + h) * 9 + w] = 0.3f;
            }
    for (const int v : {728, 724, 692, 400}) scan.probability[v] = 0.4f;
    OperatingPointSearch search;
    search.add(scan.view(), scan.spacing);
    const auto chosen = search.best();
    ASSERT_TRUE(chosen);
    EXPECT_EQ(chosen->rule.threshold, 0.25f) << "the nearest to 0.5 below 0.3";
    EXPECT_EQ(chosen->rule.min_volume, 2) << "the least that leaves single voxels out";
    EXPECT_EQ(chosen->found, 1);
    EXPECT_EQ(chosen->false_positives, 0);
    EXPECT_EQ(chosen->dice, 1);
}

TEST(OperatingPoint, HealthyScansDoNotChooseEmptyMasks) {
    // One scan with two lesions, of which one is found at up to 0.6, and five without, each with a speck that a higher
    // threshold leaves out: empty masks would have a mean Dice of 5/6 over all scans.
    Scan lesions{{9, 9, 9}, {1, 1, 1}, std::vector<std::uint8_t>(729), {}, std::vector<float>(729)};
    for (const int v : {0, 1, 2, 9, 10, 11}) lesions.target[v] = 1, lesions.probability[v] = 0.6f;
    lesions.target[400] = 1;
    Scan healthy{{9, 9, 9}, {1, 1, 1}, std::vector<std::uint8_t>(729), {}, std::vector<float>(729)};
    for (const int v : {300, 301, 302, 303, 304, 305, 306}) healthy.probability[v] = 0.7f;
    OperatingPointSearch search;
    for (int i = 0; i < 6; ++i) {
        const Scan& scan = i == 2 ? lesions : healthy;
        search.add(scan.view(), scan.spacing);
    }
    const auto chosen = search.best();
    ASSERT_TRUE(chosen);
    EXPECT_EQ(chosen->found, 1);
    EXPECT_EQ(chosen->lesions, 2);
    EXPECT_EQ(chosen->scans, 6);
    EXPECT_NEAR(chosen->dice, 12.0 / 13, 1e-12) << "of the one scan with lesions; f64 of one division";
}

TEST(OperatingPoint, ScansWithoutLesionsChooseNothing) {
    std::mt19937 random(7);
    OperatingPointSearch search;
    const Scan scan = random_scan(random, 0, 3, false);
    search.add(scan.view(), scan.spacing);
    EXPECT_FALSE(search.best());
}

TEST(OperatingPoint, ANetworkThatFindsNothingChoosesNothing) {
    Scan scan{{9, 9, 9}, {1, 1, 1}, std::vector<std::uint8_t>(729), {}, std::vector<float>(729)};
    scan.target[0] = 1;
    scan.probability[728] = 0.9f;
    OperatingPointSearch search;
    search.add(scan.view(), scan.spacing);
    EXPECT_FALSE(search.best());
}

TEST(OperatingPoint, ReadsBackWhatItWrites) {
    const OperatingPoint point{.rule = {0.35f, 10},
                               .step = 1200,
                               .scans = 3,
                               .lesions = 17,
                               .found = 15,
                               .false_positives = 2,
                               .dice = 1.0 / 3,
                               .on_test_scans = true,
                               .test_scans = {{"a", 1234567890123}, {"b \"c\"", 7}}};
    EXPECT_EQ(parse_operating_point(operating_point_json(point), "here"), point);
    EXPECT_NE(operating_point_json(point).find("\"threshold\":0.35"), std::string::npos) << "not 0.3499999940395355";
    // A rule alone says nothing of what it was chosen on.
    const std::string rule = R"({"threshold": 0.25, "min_volume": 12})";
    EXPECT_EQ(parse_operating_point(rule, "here"), (OperatingPoint{.rule = {0.25f, 12}}));
    for (const char* bad : {"", "[]", "{\"threshold\": 0.5}", "{\"threshold\": \"half\"}",
                            "{\"threshold\": 0.5, \"min_volume\": 0, \"scans\": \"three\"}"})
        EXPECT_THROW(parse_operating_point(bad, "here"), InputError) << bad;
    std::string out_of_range = operating_point_json(point);
    out_of_range.replace(out_of_range.find("0.35"), 4, "1.35");
    EXPECT_THROW(parse_operating_point(out_of_range, "here"), InputError);
}

TEST(OperatingPoint, OneIsSaidInTheSingular) {
    EXPECT_EQ(choice_text({.scans = 1, .lesions = 1, .found = 1, .false_positives = 1, .dice = 0.5}),
              "chosen on 1 validation scan with 1 lesion: 1 found, 1 false positive, Dice 0.500");
    EXPECT_EQ(choice_text({.scans = 2, .lesions = 3, .dice = 0.5, .on_test_scans = true}),
              "chosen on 2 test scans with 3 lesions: 0 found, 0 false positives, Dice 0.500");
}

}  // namespace
}  // namespace iwseg
