#include "evaluation/candidates.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "base/atomic_file.h"
#include "base/error.h"
#include "evaluation/candidate_froc.h"
#include "evaluation/csv.h"
#include "tests/support/golden.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// A file of the test, removed at its end.
class Candidates : public testing::Test {
  protected:
    Candidates() : file_(fs::path(testing::TempDir()) / fmt::format("candidates_{}.csv", ::getpid())) {}
    ~Candidates() override { fs::remove(file_); }

    fs::path write(const std::string& text) {
        write_text(file_, text);
        return file_;
    }
    void expect_refused(const std::function<void()>& read, const std::string& named) {
        try {
            read();
            FAIL() << "expected a refusal that says " << named;
        } catch (const InputError& error) {
            EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
        }
    }

  private:
    fs::path file_;
};

constexpr const char* kHeader = "seriesuid,coordX,coordY,coordZ,probability\n";

TEST_F(Candidates, AreReadInAnyOrderOfColumnsWithMarksQuotesAndLineEnds) {
    const auto read =
        read_candidates(write("\xEF\xBB\xBFprobability,\"note, if any\",coordZ,seriesuid, coordX ,coordY\r\n"
                              "0.5,\"say \"\"so\"\"\",-3,a.1,1e1,+2\r\n\r\n  .25 ,,0,\"a.2\",1,2\n"
                              "1,\"two\nlines\",0,a.3,1,2"));
    ASSERT_EQ(read.size(), 3u);
    EXPECT_EQ(read[0].scan, "a.1");
    EXPECT_EQ(read[0].position, (std::array<double, 3>{10, 2, -3}));
    EXPECT_EQ(read[0].probability, 0.5);
    EXPECT_EQ(read[1].scan, "a.2");
    EXPECT_EQ(read[1].probability, 0.25);
    EXPECT_EQ(read[2].scan, "a.3");
    EXPECT_EQ(read_csv(write("x,y\n\"\",\"say \"\"so\"\"\"\r1,2")).rows[1].values[1], "say \"so\"");
    EXPECT_TRUE(read_candidates(write(kHeader)).empty());  // a detector that finds nothing
}

TEST_F(Candidates, BadFilesAreRefusedInASentenceThatNamesThem) {
    const auto reads = [&](const std::string& text) { return [this, text] { read_candidates(write(text)); }; };
    expect_refused(reads(""), "is empty");
    expect_refused(reads("\xEF\xBB\xBF\n\n"), "is empty");
    expect_refused(reads("seriesuid,coordX,coordY,coordZ\na,1,2,3\n"), "has no column probability");
    expect_refused(reads("seriesuid,coordX,coordY,coordz,probability\n"), "coordz is nearest");
    expect_refused(reads(kHeader + std::string("a,1,2,3,0.5\na,1,2,3,high\n")),
                   "line 3: 'high' in the column probability");
    expect_refused(reads(kHeader + std::string("a,1,2,3,nan\n")), "not a finite number");
    expect_refused(reads(kHeader + std::string("a,1,2,,1\n")), "'' in the column coordZ");
    expect_refused(reads(kHeader + std::string("a,1,2,3\n")), "line 2, has 4 values; expected at least 5");
    expect_refused(reads(kHeader + std::string(",1,2,3,1\n")), "names no scan");
    expect_refused(reads(kHeader + std::string("\"a,1,2,3,1\n")), "ends within the quotes that line 2 opens");
    expect_refused([] { read_candidates("nowhere.csv"); }, "nowhere.csv");
    expect_refused([&] { read_scan_names(write("a\nb\na\n")); }, "line 3, names the scan a again");
    expect_refused([&] { read_scan_names(write("seriesuid\n")); }, "names no scan");
    EXPECT_EQ(read_scan_names(write("seriesuid\na\nb\n")), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(read_scan_names(write("a\r\nb,extra")), (std::vector<std::string>{"a", "b"}));
}

CandidateTruth truth_of(std::vector<Finding> nodules, std::vector<Finding> excluded = {}) {
    return {{"a", "b"}, std::move(nodules), std::move(excluded)};
}

TEST_F(Candidates, HitOnlyNearerThanTheRadius) {
    const CandidateTruth truth = truth_of({{"a", {1, 2, 3}, 10}});
    EXPECT_EQ(match_candidates({{"a", {1, 2, 8}, 0.5}}, truth).found, 0);
    EXPECT_EQ(match_candidates({{"a", {1, 2, 7.999}, 0.5}}, truth).found, 1);
    EXPECT_EQ(match_candidates({{"b", {1, 2, 3}, 0.5}}, truth).false_positives, 1);
    EXPECT_EQ(match_candidates({{"a", {1, 2, 7}, 0.5}}, truth_of({{"a", {1, 2, 3}, -1}})).found, 1);  // taken as 10 mm
}

TEST_F(Candidates, OnOneNoduleTheMostProbableCounts) {
    const CandidateMatches matches = match_candidates(
        {{"a", {0, 0, 1}, 0.2}, {"a", {0, 0, 0}, -0.5}, {"a", {0, 1, 0}, 0.9}}, truth_of({{"a", {0, 0, 0}, 4}}));
    ASSERT_EQ(matches.events.size(), 1u);
    EXPECT_EQ(matches.events[0].probability, 0.9);
    EXPECT_EQ(matches.repeated, 2);
    EXPECT_EQ(matches.false_positives, 0);
}

TEST_F(Candidates, OneMayFindTwoNodulesAndANoduleGoesBeforeAnExcludedFinding) {
    const CandidateMatches matches = match_candidates(
        {{"a", {0, 0, 0}, 0.9}, {"a", {20, 0, 0}, 0.8}},
        truth_of({{"a", {0, 0, 1}, 4}, {"a", {0, 1, 0}, 4}}, {{"a", {0, 0, 0}, -1}, {"a", {20, 0, 4}, -1}}));
    EXPECT_EQ(matches.found, 2);
    EXPECT_EQ(matches.on_excluded, 1);
    EXPECT_EQ(matches.false_positives, 0);
}

TEST_F(Candidates, OverTheLimitGoWithAllThatAreAsProbable) {
    std::vector<Candidate> candidates;
    for (const double probability : {0.1, 0.9, 0.5, 0.5, 0.7}) candidates.push_back({"a", {99, 0, 0}, probability});
    const CandidateTruth truth = truth_of({{"b", {0, 0, 0}, 4}});
    EXPECT_EQ(match_candidates(candidates, truth, 3).candidates, 2);  // 0.5 is the first left out
    EXPECT_EQ(match_candidates(candidates, truth, 4).candidates, 4);
    EXPECT_EQ(match_candidates(candidates, truth, 4).over_limit, 1);
    EXPECT_EQ(match_candidates(candidates, truth, 0).candidates, 5);
}

TEST_F(Candidates, OfOtherScansAreLeftOutUnlessAllAre) {
    const CandidateTruth truth = truth_of({{"a", {0, 0, 0}, 4}, {"c", {0, 0, 0}, 4}});
    const CandidateMatches matches = match_candidates({{"a", {9, 0, 0}, 1}, {"c", {0, 0, 0}, 1}}, truth);
    EXPECT_EQ(matches.elsewhere, 1);
    EXPECT_EQ(matches.all_nodules(), 1);
    expect_refused([&] { match_candidates({{"c", {0, 0, 0}, 1}}, truth); }, "none of the 1 candidates");
    expect_refused([&] { match_candidates({}, truth_of({{"c", {0, 0, 0}, 4}})); }, "none of the 1 nodules");
    EXPECT_EQ(compute_candidate_froc(match_candidates({}, truth), {}).score.value, 0);
}

/// Sensitivity at a rate, from all operating points, the plain way.
double reference_sensitivity(const CandidateMatches& matches, double rate) {
    std::vector<std::pair<double, double>> curve{{0, 0}};
    for (const auto& threshold : matches.events) {
        double found = 0, positives = 0;
        for (const auto& event : matches.events)
            if (event.probability >= threshold.probability) (event.is_nodule ? found : positives) += 1;
        curve.emplace_back(positives / static_cast<double>(matches.nodules.size()),
                           found / static_cast<double>(matches.all_nodules()));
    }
    std::sort(curve.begin(), curve.end());
    const auto after = std::upper_bound(curve.begin(), curve.end(), std::pair(rate, 2.0));
    if (after == curve.end()) return curve.back().second;
    const auto before = std::prev(after);
    return before->second + (after->second - before->second) * (rate - before->first) / (after->first - before->first);
}

CandidateMatches random_matches(std::mt19937& random, std::size_t scans) {
    std::uniform_real_distribution<double> any(-40, 40);
    CandidateTruth truth{{}, {}, {}};
    std::vector<Candidate> candidates;
    for (std::size_t s = 0; s < scans; ++s) {
        truth.scans.push_back(std::to_string(s));
        for (std::size_t n = s == 0 ? 1 : random() % 4; n > 0; --n) {
            truth.nodules.push_back({truth.scans[s], {any(random), any(random), any(random)}, 20 + any(random) / 3});
            Candidate near{truth.scans[s], truth.nodules.back().position, static_cast<double>(random() % 50)};
            near.position[0] += any(random) / 4;
            candidates.push_back(near);
        }
        for (std::size_t c = random() % 9; c > 0; --c)
            candidates.push_back(
                {truth.scans[s], {any(random), 9 * any(random), any(random)}, static_cast<double>(random() % 40)});
    }
    return match_candidates(candidates, truth);
}

TEST(CandidateFroc, EqualsOperatingPointsTakenOneByOne) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 30; ++round) {
        const CandidateMatches matches = random_matches(random, 3 + 2 * (random() % 9));
        const CandidateFroc froc = compute_candidate_froc(matches, {.draws = 3, .seed = seed});
        double sum = 0;
        for (std::size_t i = 0; i < froc.false_positives.size(); ++i) {
            const double rate = froc.false_positives[i];
            const double points = rate * static_cast<double>(froc.scans);
            if (points == std::floor(points)) continue;  // may be vertical there: the last bit decides
            EXPECT_NEAR(froc.curve.recall[i], reference_sensitivity(matches, rate), 1e-12) << rate;
        }
        for (const Estimate& at : froc.sensitivity) sum += at.value;
        EXPECT_NEAR(froc.score.value, sum / 7, 1e-12);
        EXPECT_EQ(froc.false_positives.front(), 0.125);
        EXPECT_EQ(froc.false_positives.back(), 8);
        EXPECT_TRUE(std::is_sorted(froc.curve.recall.begin(), froc.curve.recall.end()));
    }
}

TEST(CandidateFroc, EqualsNumpyAndScikitLearn) {
    const auto kept = nlohmann::json::parse(read_text(kept_golden("candidates.json")));
    for (const auto& list : kept.at("lists")) {
        SCOPED_TRACE("seed " + list.at("seed").dump());
        const auto findings = [&](const char* key) {
            std::vector<Finding> read;
            for (const auto& row : list.at(key)) read.push_back({row[0], {row[1], row[2], row[3]}, row[4]});
            return read;
        };
        std::vector<Candidate> candidates;
        for (const auto& row : list.at("candidates")) candidates.push_back({row[0], {row[1], row[2], row[3]}, row[4]});
        const CandidateMatches matches = match_candidates(
            candidates, {list.at("scans"), findings("annotations"), findings("excluded")}, list.at("most"));
        EXPECT_EQ(list.at("found"), matches.found);
        EXPECT_EQ(list.at("false_positives"), matches.false_positives);
        EXPECT_EQ(list.at("on_excluded"), matches.on_excluded);
        const CandidateFroc froc = compute_candidate_froc(matches, {.draws = 1});
        for (std::size_t i = 0; i < kLunaRates.size(); ++i)  // the same operations in doubles, in nearly the same order
            EXPECT_NEAR(list.at("sensitivity")[i].get<double>(), froc.sensitivity[i].value, 1e-12);
    }
}

TEST(CandidateFroc, CountsByHand) {
    // Two scans, four nodules; probabilities 9 (nodule), 8 (false), 7 (nodule and false together), 6 (false).
    CandidateMatches matches;
    matches.events = {{9, 0, true}, {8, 0, false}, {7, 1, true}, {7, 1, false}, {6, 0, false}};
    matches.nodules = {3, 1};
    matches.found = 2;
    matches.false_positives = 3;
    const CandidateFroc froc = compute_candidate_froc(matches, {.draws = 1});
    const double expected[] = {0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5};  // at 1/8 … 8; 1 a scan is where 7 is met
    for (std::size_t i = 0; i < 7; ++i) EXPECT_NEAR(froc.sensitivity[i].value, expected[i], 1e-15) << i;
    EXPECT_NEAR(froc.curve.recall[2 * 32 + 16], 0.25 + 0.25 * (std::sqrt(0.5) - 0.5) / 0.5, 1e-12);
    EXPECT_NEAR(froc.all_false_positives, 1.5, 1e-15);
    EXPECT_NEAR(froc.all_recall, 0.5, 1e-15);
}

TEST(CandidateFroc, TakesTheTopOfARiseAtOneRate) {
    CandidateMatches matches;
    matches.events = {{9, 0, false}, {8, 0, true}, {7, 1, true}, {6, 0, false}, {5, 0, false}};
    matches.nodules = {1, 1};
    matches.found = 2;
    matches.false_positives = 3;
    const CandidateFroc froc = compute_candidate_froc(matches, {.draws = 1});
    EXPECT_EQ(froc.sensitivity[1].value, 0);  // at 1/4, before the first false positive
    EXPECT_EQ(froc.sensitivity[2].value, 1);  // at 1/2, where both nodules follow it
}

TEST(CandidateFroc, WithoutFalsePositivesIsFlat) {
    CandidateMatches matches;
    matches.events = {{2, 0, true}, {1, 1, true}};
    matches.nodules = {2, 1};
    EXPECT_NEAR(compute_candidate_froc(matches, {}).score.value, 2.0 / 3, 1e-15);
}

/// Three scans with 1 of 1, 1 of 2 and 0 of 1 nodules found.
TEST(CandidateFroc, BootstrapDrawsScansWithReplacement) {
    CandidateMatches matches;
    matches.events = {{2, 0, true}, {1, 1, true}};
    matches.nodules = {1, 2, 1};
    const CandidateFroc froc = compute_candidate_froc(matches, {.draws = 20000, .seed = 3});
    // All 27 draws by hand: the mean of found / nodules, bounds over them.
    double mean = 0;
    const double found[] = {1, 1, 0}, nodules[] = {1, 2, 1};
    for (int draw = 0; draw < 27; ++draw) {
        const int scans[] = {draw % 3, draw / 3 % 3, draw / 9};
        double hit = 0, all = 0;
        for (const int scan : scans) hit += found[scan], all += nodules[scan];
        mean += hit / all / 27;
    }
    EXPECT_NEAR(froc.bootstrap_mean[0], mean, 0.01);  // deviation of a draw about 0.25, over the root of 20,000: 0.002
    EXPECT_EQ(froc.score.low, 0);                     // the draw 2, 2, 2 has a share of 1 / 27 above 2.5 %
    EXPECT_EQ(froc.score.high, 1);
    EXPECT_EQ(compute_candidate_froc(matches, {.draws = 50, .seed = 3}).score.deviation,
              compute_candidate_froc(matches, {.draws = 50, .seed = 3}).score.deviation);
    EXPECT_THROW(compute_candidate_froc(matches, {.draws = 0}), InputError);
}

}  // namespace
}  // namespace iwseg
