#pragma once

#include <string>
#include <vector>

namespace iwseg {

/// A curve, with a band around it where low and high are given (same length as x and y).
struct Curve {
    std::string name;
    std::vector<double> x, y, low, high;
    bool points_only = false;  ///< dots and no line
    int colour = -1;           ///< which of chart_colour's, so that a run keeps its own; below 0: that of its place
};

struct ChartOptions {
    std::string title = {}, x_label = {}, y_label = {};
    bool log_x = false, log_y = false;
    bool doublings_x = false;  ///< on a logarithmic x axis ticks at 1/8, 1/4, …, 8 in place of round decimals
    double x_min = 0, x_max = 0, y_min = 0, y_max = 0;  ///< equal: taken from the data
    int width = 640, height = 400;                      ///< pixels
};

/// The nth colour of curves and bars, as #rrggbb; after the last the first comes again.
std::string chart_colour(std::size_t nth);

/// One self-contained <svg> element: axes with round ticks, grid, legend; colours that the colour-blind tell apart.
/// What cannot be shown (not finite, or not above 0 on a logarithmic axis) leaves a gap. A page that holds the element
/// may set the CSS variables --chart-ink (text and lines) and --chart-background.
std::string line_chart(const std::vector<Curve>& curves, const ChartOptions& options);

/// Groups of bars side by side, with error bars where low and high are given; a value that is not finite has no bar.
/// A group's name may have several lines.
struct BarSeries {
    std::string name;
    std::vector<double> values, low, high;
    int colour = -1;  ///< as Curve's
};
std::string bar_chart(const std::vector<std::string>& groups, const std::vector<BarSeries>& series,
                      const ChartOptions& options);

}  // namespace iwseg
