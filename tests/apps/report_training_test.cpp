#include "apps/report/report_training.h"

#include <gtest/gtest.h>

#include <string>

#include "apps/report/report_charts.h"
#include "apps/report/report_provenance.h"

namespace iwseg {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

/// Two runs of 40 steps, the first of which was validated twice; the second pass is the better.
ReportData two_runs() {
    ReportData data;
    data.runs.resize(2);
    data.runs[0].name = "a < b";
    data.runs[1].name = "c";
    for (ReportRun& run : data.runs)
        for (int step = 1; step <= 40; ++step)
            run.log.push_back({.step = step + 0.0, .loss = 1.0 / step, .rate = step > 20 ? 0.001 : 0.01});
    ValidationScore first;
    first.step = 20;
    first.scans = 3;
    first.lesions = 5;
    first.average_recall = 0.25;
    first.dice = 0.125;
    ValidationScore second = first;
    second.step = 40;
    second.average_recall = 0.75;
    data.runs[0].validation = {first, second};
    return data;
}

TEST(ReportTraining, ShowsLossRateAndValidationAndSaysThemInNumbers) {
    const std::string html = training_section(two_runs());
    EXPECT_EQ(count(html, "<svg xmlns"), 5u) << "two losses, the rate, and two of validation";
    for (const char* title : {"Loss of a &lt; b</text>", "Learning rate</text>", "Validation: average recall</text>",
                              "Validation: Dice of scans</text>"})
        EXPECT_EQ(count(html, title), 1u) << title;
    EXPECT_EQ(count(html, "loss in numbers"), 2u);
    EXPECT_EQ(count(html, "validation in numbers"), 1u) << "the second run was not validated";
    EXPECT_EQ(count(html, "<td class=\"best\">0.750</td>"), 1u);
    EXPECT_EQ(html.find("a < b"), std::string::npos);
}

TEST(ReportTraining, ARateThatDropsOnceIsDrawnByItsCorners) {
    ReportData data = two_runs();
    data.runs.pop_back();
    const std::string html = training_section(data);
    const std::size_t chart = html.find("aria-label=\"Learning rate\"");
    const std::string svg = html.substr(chart, html.find("</svg>\n", chart) - chart);
    const std::size_t line = svg.find("fill=\"none\" stroke=");
    const std::size_t path = svg.rfind("d=\"M", line);
    EXPECT_EQ(count(svg.substr(path, line - path), "L"), 3u) << "from step 1 to 20, down, to 40: four corners";
}

TEST(ReportTraining, WithoutALogThereIsNoSection) {
    ReportData data = two_runs();
    for (ReportRun& run : data.runs) run.log.clear();
    EXPECT_EQ(training_section(data), "");
}

TEST(ReportProvenance, SaysHowMasksAreMadeAndOnWhatThatWasChosen) {
    ReportData data = two_runs();
    OperatingPoint point;
    point.rule.threshold = 0.35f;
    point.scans = 3;
    point.on_test_scans = true;
    data.runs[0].operating_point = point;
    const std::string html = provenance_section(data);
    EXPECT_NE(html.find("probability &gt; 0.35"), std::string::npos) << html;
    EXPECT_NE(html.find("are tested on as well"), std::string::npos);
    EXPECT_NE(html.find("probability &gt; 0.5</td>"), std::string::npos) << "the second run has no point of its own";
}

TEST(ReportCharts, AnEstimateShowsItsIntervalWhereItHasOne) {
    EXPECT_EQ(estimate_text({.value = 0.5, .deviation = 0.1, .low = 0.25, .high = 0.75}), "0.500 (0.25–0.75)");
}

}  // namespace
}  // namespace iwseg
