#include "apps/report/equal_rate.h"

#include <gtest/gtest.h>

#include <string>

#include "apps/report/report_data.h"

namespace iwseg {
namespace {

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// A run whose smaller half, 50 lesions, is found as said at one false positive a scan, not at all below and wholly
/// above: what lies elsewhere must not be read.
ReportRun run_with(const std::string& name, double recall, double low, double high) {
    ReportRun run;
    run.name = name;
    for (int i = 0; i <= 600; ++i) run.froc.false_positives.push_back(i * 0.01);
    SizeStratum small;
    small.lesions = 50;
    small.diameter_high = 5.5;
    small.curve = {std::vector<double>(601, recall), std::vector<double>(601, low), std::vector<double>(601, high)};
    for (std::size_t i = 101; i < 601; ++i) small.curve.recall[i] = 1;
    for (std::size_t i = 0; i < 100; ++i) small.curve.recall[i] = 0;
    run.froc.strata = {small, SizeStratum{}};
    run.froc.all_false_positives = 7;
    return run;
}

std::string sentences(const ReportRun& plain, const ReportRun& weighted) {
    ReportData data;
    data.runs = {plain, weighted};
    ReportPrediction a, b;
    a.present = b.present = true;
    a.dice = 0.75;
    b.dice = 0.5;
    ReportCase scan;
    scan.predictions = {a, b};
    data.cases = {scan};
    return equal_rate_sentences(data, "Weighting");
}

TEST(EqualRate, TheFirstSentenceSaysWhetherMoreIsFoundAndByHowMuch) {
    const std::string text = sentences(run_with("plain", 0.4, 0.3, 0.5), run_with("iw", 0.8, 0.7, 0.9));
    EXPECT_TRUE(
        text.starts_with("Weighting finds more small lesions here at 1 false positive a scan: of 50 lesions of at "
                         "most 5.5 voxels in diameter, iw finds 40 (80 %; 95 % interval 70 to 90 %), plain finds 20 "
                         "(40 %; 95 % interval 30 to 50 %), each"))
        << text;
    EXPECT_TRUE(contains(text, "Dice of scans is 0.50 with iw and 0.75 with plain.")) << text;
}

TEST(EqualRate, AGainWithinTheIntervalsIsCalledWhatItMayBe) {
    EXPECT_TRUE(contains(sentences(run_with("plain", 0.4, 0.3, 0.6), run_with("iw", 0.5, 0.4, 0.7)),
                         "by what may be chance: of 50"));
    ReportRun plain = run_with("plain", 0.4, 0.4, 0.4), weighted = run_with("iw", 0.5, 0.5, 0.5);
    for (ReportRun* run : {&plain, &weighted})  // one scan: nothing to resample
        run->froc.strata[0].curve.low.clear(), run->froc.strata[0].curve.high.clear();
    EXPECT_TRUE(contains(sentences(plain, weighted), "by what may be chance"));
    EXPECT_FALSE(contains(sentences(plain, weighted), "interval"));
}

TEST(EqualRate, NoGainIsSaidFirst) {
    for (const double recall : {0.4, 0.39})
        EXPECT_TRUE(
            sentences(run_with("plain", 0.4, 0.3, 0.6), run_with("iw", recall, 0.1, 0.7))
                .starts_with("Weighting does not find more small lesions here at 1 false positive a scan: of 50"));
}

TEST(EqualRate, ARunThatEndsBelowTheRateMayHaveMoreToFind) {
    ReportRun plain = run_with("plain", 0.4, 0.3, 0.5);
    const ReportRun weighted = run_with("iw", 0.8, 0.7, 0.9);
    EXPECT_FALSE(contains(sentences(plain, weighted), "may find more"));
    plain.froc.all_false_positives = 0.25;
    EXPECT_TRUE(contains(sentences(plain, weighted),
                         "no more. plain raises 0.25 false positives a scan in all, as detections "
                         "begin at the probability 0.5: with a lower bar it may find more. Dice"));
}

TEST(EqualRate, OneRunIsNotCompared) {
    ReportData data;
    data.runs = {run_with("plain", 0.4, 0.3, 0.6)};
    EXPECT_EQ(equal_rate_sentences(data, "Weighting"), "");
}

}  // namespace
}  // namespace iwseg
