#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace iwseg {

/// Smallest and largest of the values included so far.
struct Range {
    double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();

    /// What a logarithmic axis cannot show does not widen it.
    void include(const std::vector<double>& values, bool log);
};

/// From a value to a place between the pixels `from` and `to`, with round ticks on the way.
struct ChartAxis {
    bool log = false;
    double low = 0, high = 1, from = 0, to = 1;
    std::vector<double> ticks;
    std::vector<std::string> labels;  ///< of the ticks

    bool shows(double value) const { return std::isfinite(value) && (!log || value > 0); }
    double at(double value) const {
        const double share = log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
        return from + share * (to - from);
    }
};

/// Pixels a text takes, about: fonts differ from viewer to viewer.
double text_width(const std::string& text);

/// Where ticks stand: at round numbers, at 1, 2 and 5 times powers of ten, or at powers of two (1/8, 1/4, …).
enum class AxisScale : std::uint8_t { linear, log10, log2 };

/// low and high: as ChartOptions has them; where they are equal the range is taken, widened to round ticks.
/// count: about how many ticks there is room for.
ChartAxis make_axis(AxisScale scale, double low, double high, Range range, double count);

}  // namespace iwseg
