#include "apps/chart/chart_axis.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/letters.h"

namespace iwseg {

void Range::include(const std::vector<double>& values, bool log) {
    for (const double value : values)
        if (std::isfinite(value) && (!log || value > 0)) {
            low = std::min(low, value);
            high = std::max(high, value);
        }
}

double text_width(const std::string& text) {
    return 6.9 * static_cast<double>(letter_count(text));
}

namespace {

/// 1, 2 or 5 times a power of ten, so that about `count` steps fill the span.
double round_step(double span, double count) {
    const double rough = span / count, power = std::pow(10.0, std::floor(std::log10(rough)));
    const double leading = rough / power;
    return power * (leading <= 1 ? 1 : leading <= 2 ? 2 : leading <= 5 ? 5 : 10);
}

std::string linear_label(double value, double step) {
    const double size = std::abs(value);
    if (size >= 1e6 || (size > 0 && step < 1e-4)) return fmt::format("{:g}", value);
    const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
    return fmt::format("{:.{}f}", value == 0 ? 0.0 : value, decimals);
}

void add_linear_ticks(ChartAxis& axis, bool fixed, double count) {
    if (!(axis.low < axis.high)) {
        const double room = axis.low == 0 ? 1 : std::abs(axis.low) / 2;
        axis.low -= room;
        axis.high += room;
    }
    const double step = round_step(axis.high - axis.low, count);
    if (!fixed) {
        axis.low = std::floor(axis.low / step + 1e-9) * step;
        axis.high = std::ceil(axis.high / step - 1e-9) * step;
    }
    for (double i = std::ceil(axis.low / step - 1e-9); i * step <= axis.high + 1e-9 * step; ++i) {
        axis.ticks.push_back(i * step);
        axis.labels.push_back(linear_label(i * step, step));
    }
}

/// Powers of ten; with 2 and 5 between them where there are few; every n-th where there are many.
void add_log_ticks(ChartAxis& axis, bool fixed, double count) {
    if (!(axis.low < axis.high)) {
        axis.low /= 2;
        axis.high *= 2;
    }
    const double decades = std::log10(axis.high / axis.low);
    const std::vector<double> leading = decades < count / 2.5 ? std::vector<double>{1, 2, 5} : std::vector<double>{1};
    const int stride = std::max(1, static_cast<int>(std::ceil(decades / count)));
    std::vector<double> candidates;
    const int first = static_cast<int>(std::floor(std::log10(axis.low))) - stride;
    const int last = static_cast<int>(std::ceil(std::log10(axis.high))) + stride;
    for (int power = first; power <= last; ++power)
        if (power % stride == 0)
            for (const double digit : leading) candidates.push_back(digit * std::pow(10.0, power));
    if (!fixed) {
        const double low = axis.low * (1 + 1e-9), high = axis.high * (1 - 1e-9);
        for (const double candidate : candidates)
            if (candidate <= low) axis.low = candidate;
        axis.high = *std::find_if(candidates.begin(), candidates.end(),
                                  [&](double c) { return c >= high || c == candidates.back(); });
    }
    for (const double candidate : candidates)
        if (candidate >= axis.low * (1 - 1e-9) && candidate <= axis.high * (1 + 1e-9)) {
            axis.ticks.push_back(candidate);
            axis.labels.push_back(candidate >= 1e-3 && candidate < 1e6 ? fmt::format("{:.6g}", candidate)
                                                                       : fmt::format("{:.0e}", candidate));
        }
}

/// Powers of two, fractions below 1.
void add_doubling_ticks(ChartAxis& axis, bool fixed) {
    const int first = static_cast<int>(fixed ? std::ceil(std::log2(axis.low) - 1e-9) : std::floor(std::log2(axis.low)));
    int last = static_cast<int>(fixed ? std::floor(std::log2(axis.high) + 1e-9) : std::ceil(std::log2(axis.high)));
    if (!fixed) {
        last = std::max(last, first + 1);
        axis.low = std::exp2(first);
        axis.high = std::exp2(last);
    }
    for (int power = first; power <= last; ++power) {
        axis.ticks.push_back(std::exp2(power));
        axis.labels.push_back(power < 0 ? fmt::format("1/{:g}", std::exp2(-power))
                                        : fmt::format("{:g}", std::exp2(power)));
    }
}

}  // namespace

ChartAxis make_axis(AxisScale scale, double fixed_low, double fixed_high, Range range, double count) {
    ChartAxis axis;
    const bool log = axis.log = scale != AxisScale::linear;
    const bool fixed = fixed_low != fixed_high && (!log || (fixed_low > 0 && fixed_high > 0));
    if (fixed) range = {fixed_low, fixed_high};
    if (range.low > range.high) range = log ? Range{0.1, 10} : Range{0, 1};
    axis.low = range.low;
    axis.high = range.high;
    switch (scale) {
        case AxisScale::linear:
            add_linear_ticks(axis, fixed, count);
            break;
        case AxisScale::log10:
            add_log_ticks(axis, fixed, count);
            break;
        case AxisScale::log2:
            add_doubling_ticks(axis, fixed);
            break;
    }
    return axis;
}

}  // namespace iwseg
