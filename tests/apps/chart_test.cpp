#include "apps/chart/chart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "apps/chart/chart_axis.h"

namespace iwseg {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

/// Every element is closed in the order it was opened, and no number is "nan" or "inf".
void expect_well_formed(const std::string& svg) {
    std::vector<std::string> open;
    for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
        const std::size_t end = svg.find('>', at);
        ASSERT_NE(end, std::string::npos);
        if (svg[at + 1] == '/') {
            ASSERT_FALSE(open.empty());
            EXPECT_EQ(open.back(), svg.substr(at + 2, end - at - 2));
            open.pop_back();
        } else if (svg[end - 1] != '/') {
            open.push_back(svg.substr(at + 1, svg.find_first_of(" >", at) - at - 1));
        }
    }
    EXPECT_TRUE(open.empty());
    for (const char* before : {"M", "L", " ", "\"", "-"})
        for (const char* number : {"nan", "inf"}) EXPECT_EQ(count(svg, std::string(before) + number), 0u) << svg;
}

TEST(ChartAxis, TicksAreRoundEvenAndInside) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> exponent(-6, 6), sign(-1, 1);
    for (int round = 0; round < 500; ++round) {
        Range range;
        range.include({sign(random) * std::pow(10, exponent(random)), sign(random) * std::pow(10, exponent(random))},
                      false);
        const ChartAxis axis = make_axis(AxisScale::linear, 0, 0, range, 6);
        ASSERT_GE(axis.ticks.size(), 2u);
        ASSERT_LE(axis.ticks.size(), 10u);
        const double step = axis.ticks[1] - axis.ticks[0];
        EXPECT_LE(axis.low, range.low + 1e-8 * step);  // a hair outside is not worth a step
        EXPECT_GE(axis.high, range.high - 1e-8 * step);
        for (std::size_t i = 0; i < axis.ticks.size(); ++i) {
            EXPECT_NEAR(axis.ticks[i] / step, std::round(axis.ticks[i] / step), 1e-6);
            EXPECT_NEAR(std::stod(axis.labels[i]), axis.ticks[i], 1e-3 * step) << axis.labels[i];
        }
        const double leading = step / std::pow(10, std::floor(std::log10(step) + 1e-9));
        EXPECT_TRUE(std::abs(leading - 1) < 1e-6 || std::abs(leading - 2) < 1e-6 || std::abs(leading - 5) < 1e-6)
            << step;
    }
}

TEST(ChartAxis, LogarithmicTicksHoldTheRangeAndLieEvenly) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> exponent(-8, 8);
    for (int round = 0; round < 500; ++round) {
        Range range;
        range.include({std::pow(10, exponent(random)), std::pow(10, exponent(random)), 0.0, -3.0}, true);
        ChartAxis axis = make_axis(AxisScale::log10, 0, 0, range, 6);
        axis.to = 100;
        ASSERT_GE(axis.ticks.size(), 2u);
        ASSERT_LE(axis.ticks.size(), 12u);
        EXPECT_LE(axis.low, range.low * (1 + 1e-6));
        EXPECT_GE(axis.high, range.high * (1 - 1e-6));
        EXPECT_NEAR(axis.at(std::sqrt(axis.low * axis.high)), 50, 1e-6);
    }
}

TEST(ChartAxis, DoublingsAreLabelledAsFractionsAndStandAtEqualDistances) {
    ChartAxis axis = make_axis(AxisScale::log2, 0.125, 8, {}, 6);
    EXPECT_EQ(axis.labels, (std::vector<std::string>{"1/8", "1/4", "1/2", "1", "2", "4", "8"}));
    axis.from = 10;
    axis.to = 70;
    for (std::size_t i = 0; i < axis.ticks.size(); ++i)
        EXPECT_NEAR(axis.at(axis.ticks[i]), 10 + 10 * static_cast<double>(i), 1e-9);
    const ChartAxis around = make_axis(AxisScale::log2, 0, 0, {0.3, 5}, 6);  // widened to the next doublings
    EXPECT_EQ(around.low, 0.25);
    EXPECT_EQ(around.high, 8);
    EXPECT_EQ(make_axis(AxisScale::log2, 0, 0, {1, 1}, 6).labels, (std::vector<std::string>{"1", "2"}));
}

TEST(LineChart, HoldsEachCurveBandNameAndAxis) {
    const Curve a{"dl & \"co\"", {0, 1, 2}, {0.1, 0.4, 0.5}, {0, 0.3, 0.4}, {0.2, 0.5, 0.6}},
        b{"iwdl", {0, 2}, {0.2, 0.9}, {}, {}};
    const std::string svg = line_chart({a, b}, {.title = "A <title>", .x_label = "step", .y_label = "loss"});
    expect_well_formed(svg);
    EXPECT_EQ(count(svg, "fill-opacity=\"0.14\""), 1u);  // one band
    EXPECT_EQ(count(svg, "stroke-linejoin"), 2u);        // two curves
    EXPECT_EQ(count(svg, "dl &amp; &quot;co&quot;</text>"), 1u);
    EXPECT_EQ(count(svg, "A &lt;title&gt;</text>"), 1u);
    EXPECT_EQ(count(svg, ">step</text>"), 1u);
    EXPECT_EQ(count(svg, ">loss</text>"), 1u);
    EXPECT_EQ(count(svg, "http"), 1u);  // the name space: nothing is fetched
}

TEST(LineChart, ACurveKeepsTheColourThatIsAskedFor) {
    Curve second{"b", {0, 1}, {0, 1}, {}, {}};
    second.colour = 1;
    const std::string svg = line_chart({second}, {});
    EXPECT_EQ(count(svg, chart_colour(0)), 0u);
    EXPECT_EQ(count(svg, chart_colour(1)), 2u);  // the curve and its entry in the legend
    EXPECT_EQ(chart_colour(0), chart_colour(7)) << "after the seventh colour the first comes again";
}

TEST(LineChart, LeavesGapsWhereNothingCanBeShown) {
    const Curve broken{"a", {0, 1, 2, 3, 4}, {1, 2, kNan, 3, 4}, {}, {}};
    EXPECT_EQ(count(line_chart({broken}, {}), "stroke-linejoin"), 2u);
    const Curve falling{"b", {1, 2, 3, 4}, {10, 1, 0, -1}, {}, {}};
    const std::string svg = line_chart({falling}, {.log_y = true});
    expect_well_formed(svg);
    EXPECT_EQ(count(svg, "stroke-linejoin"), 1u);
}

TEST(LineChart, TakesNothingOnePointAndEqualValues) {
    for (const bool log : {false, true}) {
        const ChartOptions options{.title = "", .x_label = "", .y_label = "", .log_x = log, .log_y = log};
        expect_well_formed(line_chart({}, options));
        expect_well_formed(line_chart({{"a", {1}, {3}, {}, {}}}, options));
        expect_well_formed(line_chart({{"a", {1, 2, 3}, {0, 0, 0}, {}, {}}}, options));
        expect_well_formed(line_chart({{"a", {kNan}, {kNan}, {kNan}, {kNan}}}, options));
        expect_well_formed(bar_chart({}, {}, options));
        expect_well_formed(bar_chart({"one"}, {{"a", {kNan}, {kNan}, {kNan}}}, options));
    }
}

TEST(BarChart, DrawsABarForEachValueAndErrorBarsWhereGiven) {
    const std::string svg = bar_chart({"small\nlesions", "large"},
                                      {{"dl", {0.2, 0.9}, {0.1, 0.8}, {0.3, 1.0}}, {"iwdl", {kNan, 0.9}, {}, {}}},
                                      {.title = "Recall", .x_label = "size", .y_label = "recall", .y_max = 1});
    expect_well_formed(svg);
    EXPECT_EQ(count(svg, "fill-opacity=\"0.88\""), 3u);
    EXPECT_EQ(count(svg, "stroke-width=\"1.3\""), 2u);
    EXPECT_EQ(count(svg, ">small</text>"), 1u);
    EXPECT_EQ(count(svg, ">lesions</text>"), 1u);
}

}  // namespace
}  // namespace iwseg
