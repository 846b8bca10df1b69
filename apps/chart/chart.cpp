#include "apps/chart/chart.h"

#include <algorithm>
#include <cmath>

#include "apps/chart/chart_frame.h"

namespace iwseg {
namespace {

/// "x y" of each point, gaps where a value cannot be shown; points that fall on one tenth of a pixel are drawn once.
std::vector<std::string> path_lines(const std::vector<double>& xs, const std::vector<double>& ys,
                                    const ChartAxis& x_axis, const ChartAxis& y_axis) {
    std::vector<std::string> lines(1);
    std::string last;
    for (std::size_t i = 0; i < std::min(xs.size(), ys.size()); ++i) {
        if (!x_axis.shows(xs[i]) || !y_axis.shows(ys[i])) {
            if (!lines.back().empty()) lines.emplace_back();
            last.clear();
            continue;
        }
        std::string point = fmt::format("{:.1f} {:.1f}", x_axis.at(xs[i]), y_axis.at(ys[i]));
        if (point == last) continue;
        lines.back() += (lines.back().empty() ? "M" : "L") + point;
        last = std::move(point);
    }
    if (lines.back().empty()) lines.pop_back();
    return lines;
}

void draw_band(std::string& svg, const Curve& curve, const LegendEntry& style, const ChartAxis& x_axis,
               const ChartAxis& y_axis) {
    // Along the upper edge and back along the lower; a bound below a logarithmic axis ends at the axis.
    std::vector<double> x, y, back;
    for (std::size_t i = 0; i < curve.x.size(); ++i)
        if (x_axis.shows(curve.x[i]) && y_axis.shows(curve.high[i]) && std::isfinite(curve.low[i])) {
            x.push_back(curve.x[i]);
            y.push_back(curve.high[i]);
            back.push_back(y_axis.log ? std::max(curve.low[i], y_axis.low) : curve.low[i]);
        }
    for (std::size_t i = back.size(); i-- > 0;) {
        x.push_back(x[i]);
        y.push_back(back[i]);
    }
    for (const std::string& line : path_lines(x, y, x_axis, y_axis))
        append_svg(svg, R"(<path d="{}Z" fill="{}" fill-opacity="0.14"/>)", line, style.colour);
}

void draw_curve(std::string& svg, const Curve& curve, const LegendEntry& style, const ChartAxis& x_axis,
                const ChartAxis& y_axis) {
    const std::vector<std::string> lines = path_lines(curve.x, curve.y, x_axis, y_axis);
    const bool one_point = lines.size() == 1 && lines[0].find('L') == std::string::npos;
    if (curve.points_only || one_point) {
        // A stroke of no length with round ends is a dot: one path for thousands of them.
        for (const std::string& line : lines) {
            std::string dots;
            for (const char c : line) dots += c == 'L' ? std::string("h0M") : std::string(1, c);
            append_svg(svg,
                       R"(<path d="{}h0" stroke="{}" stroke-opacity="0.75" stroke-width="{}" stroke-linecap="round"/>)",
                       dots, style.colour, one_point ? 8 : 5);
        }
        return;
    }
    for (const std::string& line : lines)  // a point alone becomes a dot
        append_svg(
            svg,
            R"(<path d="{}{}" fill="none" stroke="{}" stroke-width="2" stroke-linejoin="round" stroke-linecap="round" )"
            R"(stroke-dasharray="{}"/>)",
            line, line.find('L') == std::string::npos ? "h0" : "", style.colour, style.dash);
}

}  // namespace

std::string line_chart(const std::vector<Curve>& curves, const ChartOptions& options) {
    Range x_range, y_range;
    for (const Curve& curve : curves) {
        x_range.include(curve.x, options.log_x);
        for (const auto* values : {&curve.y, &curve.low, &curve.high}) y_range.include(*values, options.log_y);
    }
    ChartAxis x_axis =
        make_axis(options.log_x ? options.doublings_x ? AxisScale::log2 : AxisScale::log10 : AxisScale::linear,
                  options.x_min, options.x_max, x_range, options.width / 90.0);
    ChartAxis y_axis = make_axis(options.log_y ? AxisScale::log10 : AxisScale::linear, options.y_min, options.y_max,
                                 y_range, options.height / 65.0);
    const std::vector<LegendEntry> styles = make_legend(curves, false);
    const ChartFrame frame(options, styles, y_axis, x_axis.labels.empty() ? "" : x_axis.labels.back(), 1);
    x_axis.from = frame.left;
    x_axis.to = frame.right;
    y_axis.from = frame.bottom;
    y_axis.to = frame.top;

    std::string svg;
    begin_chart(svg, options, frame);
    draw_y_axis(svg, y_axis, frame, options);
    draw_x_axis(svg, x_axis, frame);
    begin_plot(svg, frame);
    for (std::size_t i = 0; i < curves.size(); ++i)
        if (curves[i].low.size() == curves[i].x.size() && curves[i].high.size() == curves[i].x.size())
            draw_band(svg, curves[i], styles[i], x_axis, y_axis);
    for (std::size_t i = 0; i < curves.size(); ++i) draw_curve(svg, curves[i], styles[i], x_axis, y_axis);
    end_plot(svg);
    end_chart(svg, frame, options);
    return svg;
}

}  // namespace iwseg
