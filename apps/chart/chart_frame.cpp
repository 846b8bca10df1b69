#include "apps/chart/chart_frame.h"

#include <algorithm>
#include <array>

namespace iwseg {
namespace {

// Okabe and Ito's colours, which the colour-blind tell apart; the darker ones first, as they read best as lines.
constexpr std::array<const char*, 7> kPalette{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                              "#e69f00", "#56b4e9", "#7a7a7a"};
constexpr std::array<const char*, 3> kDashes{"", "6 3", "2 3"};  // a second and third round through the colours

double entry_width(const LegendEntry& entry) {
    return text_width(entry.name) + 42;
}

void draw_legend(std::string& svg, const ChartFrame& frame) {
    const std::vector<LegendEntry>& legend = frame.legend;
    double x = frame.left, y = frame.top - 7 - kChartLineHeight * static_cast<double>(frame.legend_rows.size()) + 8;
    for (std::size_t i = 0, row = 0; i < legend.size(); ++i) {
        if (row + 1 < frame.legend_rows.size() && frame.legend_rows[row + 1] == i) {
            ++row;
            x = frame.left;
            y += kChartLineHeight;
        }
        const LegendEntry& entry = legend[i];
        if (entry.box)
            append_svg(svg, R"(<rect x="{:.1f}" y="{:.1f}" width="12" height="12" rx="2" fill="{}"/>)", x, y - 6,
                       entry.colour);
        else
            append_svg(svg, R"(<path d="M{:.1f} {:.1f}h20" stroke="{}" stroke-width="2.5" stroke-dasharray="{}"/>)", x,
                       y, entry.colour, entry.dash);
        append_svg(svg, R"(<text x="{:.1f}" y="{:.1f}">{}</text>)", x + (entry.box ? 18 : 26), y + 4,
                   escape_xml(entry.name));
        x += entry_width(entry);
    }
}

}  // namespace

std::string escape_xml(const std::string& text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '&')
            escaped += "&amp;";
        else if (c == '<')
            escaped += "&lt;";
        else if (c == '>')
            escaped += "&gt;";
        else if (c == '"')
            escaped += "&quot;";
        else
            escaped += c;
    }
    return escaped;
}

std::string chart_colour(std::size_t nth) {
    return kPalette[nth % kPalette.size()];
}

LegendEntry legend_entry(const std::string& name, std::size_t nth, bool box) {
    return {name, chart_colour(nth), kDashes[nth / kPalette.size() % kDashes.size()], box};
}

ChartFrame::ChartFrame(const ChartOptions& options, const std::vector<LegendEntry>& entries, const ChartAxis& y_axis,
                       const std::string& last_label, double label_lines)
    : width(options.width), height(options.height) {
    if (std::any_of(entries.begin(), entries.end(), [](const LegendEntry& entry) { return !entry.name.empty(); }))
        legend = entries;
    double y_labels = 0;
    for (const std::string& label : y_axis.labels) y_labels = std::max(y_labels, text_width(label));
    left = 16 + y_labels + (options.y_label.empty() ? 0 : 20);
    right = width - std::max(16.0, text_width(last_label) / 2 + 4);
    top = options.title.empty() ? 12 : 34;
    bottom = height - 12 - kChartLineHeight * label_lines - (options.x_label.empty() ? 0 : 20);
    double x = right;
    for (std::size_t i = 0; i < legend.size(); ++i) {
        if (x + entry_width(legend[i]) > right) {
            legend_rows.push_back(i);
            x = left;
        }
        x += entry_width(legend[i]);
    }
    if (!legend_rows.empty()) top += kChartLineHeight * static_cast<double>(legend_rows.size()) + 7;
}

void begin_chart(std::string& svg, const ChartOptions& options, const ChartFrame& frame) {
    append_svg(
        svg,
        R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:g} {1:g}" width="{0:g}" height="{1:g}" role="img" )"
        R"(aria-label="{2}" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif" )"
        R"svg(font-size="{3:g}" style="max-width:100%;height:auto;color:var(--chart-ink, #24292f)" fill="currentColor">)svg",
        frame.width, frame.height, escape_xml(options.title), 12.0);
    append_svg(svg,
               R"svg(<rect width="100%" height="100%" fill="white" style="fill:var(--chart-background, white)"/>)svg");
    if (!options.title.empty())
        append_svg(svg, R"(<text x="{:g}" y="21" font-size="14" font-weight="600">{}</text>)", frame.left,
                   escape_xml(options.title));
    draw_legend(svg, frame);
}

void draw_y_axis(std::string& svg, const ChartAxis& axis, const ChartFrame& frame, const ChartOptions& options) {
    for (std::size_t i = 0; i < axis.ticks.size(); ++i) {
        const double y = axis.at(axis.ticks[i]);
        append_svg(svg, R"(<path d="M{:.1f} {:.1f}H{:.1f}" stroke="currentColor" stroke-opacity="0.12"/>)", frame.left,
                   y, frame.right);
        append_svg(svg, R"(<text x="{:.1f}" y="{:.1f}" text-anchor="end" fill-opacity="0.75">{}</text>)",
                   frame.left - 7, y + 4, axis.labels[i]);
    }
    if (!options.y_label.empty())
        append_svg(svg, R"svg(<text transform="translate(17 {:.1f}) rotate(-90)" text-anchor="middle">{}</text>)svg",
                   (frame.top + frame.bottom) / 2, escape_xml(options.y_label));
}

void draw_x_axis(std::string& svg, const ChartAxis& axis, const ChartFrame& frame) {
    for (std::size_t i = 0; i < axis.ticks.size(); ++i) {
        const double x = axis.at(axis.ticks[i]);
        append_svg(svg, R"(<path d="M{:.1f} {:.1f}V{:.1f}" stroke="currentColor" stroke-opacity="0.12"/>)", x,
                   frame.top, frame.bottom);
        append_svg(svg, R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle" fill-opacity="0.75">{}</text>)", x,
                   frame.bottom + 17, axis.labels[i]);
    }
}

void end_chart(std::string& svg, const ChartFrame& frame, const ChartOptions& options) {
    append_svg(svg, R"(<path d="M{:.1f} {:.1f}H{:.1f}" stroke="currentColor" stroke-opacity="0.55"/>)", frame.left,
               frame.bottom, frame.right);
    if (!options.x_label.empty())
        append_svg(svg, R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)", (frame.left + frame.right) / 2,
                   frame.height - 10, escape_xml(options.x_label));
    svg += "</svg>\n";
}

/// Marks outside of the plot are cut off: a nested svg clips, and needs no id that a page could hold twice.
void begin_plot(std::string& svg, const ChartFrame& frame) {
    const double width = frame.right - frame.left, height = frame.bottom - frame.top;
    append_svg(
        svg,
        R"(<svg x="{0:.1f}" y="{1:.1f}" width="{2:.1f}" height="{3:.1f}" viewBox="{0:.1f} {1:.1f} {2:.1f} {3:.1f}">)",
        frame.left - 4, frame.top - 4, width + 8, height + 8);
}

void end_plot(std::string& svg) {
    svg += "</svg>";
}

}  // namespace iwseg
