#pragma once

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <vector>

#include "apps/chart/chart.h"
#include "apps/chart/chart_axis.h"

/// What line and bar charts share: legend, frame and axes. For chart.cpp and bar_chart.cpp alone.
namespace iwseg {

inline constexpr double kChartLineHeight = 17;

template <class... Arguments>
void append_svg(std::string& svg, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(svg), format, std::forward<Arguments>(arguments)...);
}

std::string escape_xml(const std::string& text);

struct LegendEntry {
    std::string name, colour, dash;
    bool box = false;  ///< a filled box, else a stroke
};

/// An entry in the nth colour.
LegendEntry legend_entry(const std::string& name, std::size_t nth, bool box);

/// One entry for each curve or bar series, in its colour.
template <class Series>
std::vector<LegendEntry> make_legend(const std::vector<Series>& series, bool box) {
    std::vector<LegendEntry> legend;
    for (const Series& one : series)
        legend.push_back(
            legend_entry(one.name, one.colour < 0 ? legend.size() : static_cast<std::size_t>(one.colour), box));
    return legend;
}

/// The chart's rectangles in pixels: title and legend stand above the plot, so that nothing ever lies on the data.
struct ChartFrame {
    double width, height, left, right, top, bottom;
    std::vector<LegendEntry> legend;       ///< empty where no entry has a name
    std::vector<std::size_t> legend_rows;  ///< first entry of each row

    /// last_label: text centred at the plot's right edge; label_lines: lines of text below the plot, the axis' own
    /// label not counted.
    ChartFrame(const ChartOptions& options, const std::vector<LegendEntry>& entries, const ChartAxis& y_axis,
               const std::string& last_label, double label_lines);
};

/// <svg>, background, title and legend.
void begin_chart(std::string& svg, const ChartOptions& options, const ChartFrame& frame);
void draw_x_axis(std::string& svg, const ChartAxis& axis, const ChartFrame& frame);
void draw_y_axis(std::string& svg, const ChartAxis& axis, const ChartFrame& frame, const ChartOptions& options);
/// Marks drawn between the two are cut off at the plot's edge.
void begin_plot(std::string& svg, const ChartFrame& frame);
void end_plot(std::string& svg);
/// Base line, label of the x axis, </svg>.
void end_chart(std::string& svg, const ChartFrame& frame, const ChartOptions& options);

}  // namespace iwseg
