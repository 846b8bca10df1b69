#include <algorithm>
#include <cmath>

#include "apps/chart/chart.h"
#include "apps/chart/chart_frame.h"

namespace iwseg {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines(1);
    for (const char c : text) {
        if (c == '\n')
            lines.emplace_back();
        else
            lines.back() += c;
    }
    return lines;
}

void draw_bar(std::string& svg, double x, double width, double value, const std::string& colour,
              const ChartAxis& y_axis) {
    const double base = y_axis.at(y_axis.log ? y_axis.low : std::clamp(0.0, y_axis.low, y_axis.high));
    const double end = y_axis.at(value);
    append_svg(svg,
               R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5" fill="{}" fill-opacity="0.88"/>)",
               x, std::min(base, end), width, std::abs(base - end), colour);
}

void draw_error(std::string& svg, double x, double low, double high, const ChartAxis& y_axis) {
    const double from = y_axis.at(y_axis.log ? std::max(low, y_axis.low) : low), to = y_axis.at(high);
    append_svg(svg,
               R"(<path d="M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h8M{3:.1f} {2:.1f}h8" stroke="currentColor" )"
               R"(stroke-opacity="0.8" stroke-width="1.3" fill="none"/>)",
               x, from, to, x - 4);
}

void draw_group_name(std::string& svg, const std::string& name, double x, const ChartFrame& frame) {
    double y = frame.bottom + 17;
    for (const std::string& line : lines_of(name)) {
        append_svg(svg, R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle" fill-opacity="0.85">{}</text>)", x, y,
                   escape_xml(line));
        y += kChartLineHeight;
    }
}

ChartAxis value_axis(const std::vector<BarSeries>& series, const ChartOptions& options) {
    Range range;
    if (!options.log_y) range.include({0.0}, false);
    for (const BarSeries& one : series)
        for (const auto* values : {&one.values, &one.low, &one.high}) range.include(*values, options.log_y);
    return make_axis(options.log_y ? AxisScale::log10 : AxisScale::linear, options.y_min, options.y_max, range,
                     options.height / 65.0);
}

}  // namespace

std::string bar_chart(const std::vector<std::string>& groups, const std::vector<BarSeries>& series,
                      const ChartOptions& options) {
    ChartAxis y_axis = value_axis(series, options);
    std::size_t label_lines = 1;
    for (const std::string& group : groups) label_lines = std::max(label_lines, lines_of(group).size());
    const std::vector<LegendEntry> styles = make_legend(series, true);
    const ChartFrame frame(options, styles, y_axis, "", static_cast<double>(label_lines));
    y_axis.from = frame.bottom;
    y_axis.to = frame.top;

    std::string svg, errors;
    begin_chart(svg, options, frame);
    draw_y_axis(svg, y_axis, frame, options);
    begin_plot(svg, frame);
    const double group_width =
        (frame.right - frame.left) / static_cast<double>(std::max<std::size_t>(groups.size(), 1));
    const double pitch =
        std::min(group_width * 0.76 / static_cast<double>(std::max<std::size_t>(series.size(), 1)), 64.0);
    for (std::size_t s = 0; s < series.size(); ++s)
        for (std::size_t g = 0; g < std::min(groups.size(), series[s].values.size()); ++g) {
            const double middle = frame.left + group_width * (static_cast<double>(g) + 0.5) +
                                  pitch * (static_cast<double>(s) - 0.5 * static_cast<double>(series.size() - 1));
            const BarSeries& one = series[s];
            if (!y_axis.shows(one.values[g])) continue;
            draw_bar(svg, middle - 0.46 * pitch, 0.92 * pitch, one.values[g], styles[s].colour, y_axis);
            if (g < one.low.size() && g < one.high.size() && std::isfinite(one.low[g]) && y_axis.shows(one.high[g]))
                draw_error(errors, middle, one.low[g], one.high[g], y_axis);
        }
    svg += errors;
    end_plot(svg);
    for (std::size_t g = 0; g < groups.size(); ++g)
        draw_group_name(svg, groups[g], frame.left + group_width * (static_cast<double>(g) + 0.5), frame);
    end_chart(svg, frame, options);
    return svg;
}

}  // namespace iwseg
