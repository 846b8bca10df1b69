#include "apps/report_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "apps/best_value.h"
#include "apps/report_charts.h"
#include "apps/report_page.h"
#include "engine/letters.h"
#include "evaluation/scan_sets.h"

namespace iwseg {
namespace {

/// A line of the table of results: a value for each run.
struct ResultLine {
    std::string heading;
    std::vector<double> values;
    std::vector<std::string> shown;
    std::vector<bool> best = {};
};

ResultLine line_of(const ReportData& data, const std::string& heading, bool higher_is_better, auto&& value,
                   auto&& shown) {
    ResultLine filled{heading, {}, {}};
    std::vector<bool> left_out;
    for (std::size_t run = 0; run < data.runs.size(); ++run) {
        filled.values.push_back(value(run));
        filled.shown.push_back(shown(run));
        left_out.push_back(covers_too_much(data.runs[run].froc.volume_ratio));
    }
    filled.best = best_values(filled.values, higher_is_better, left_out);
    return filled;
}

std::vector<ResultLine> result_lines(const ReportData& data) {
    const auto& runs = data.runs;
    const auto share = [](std::int64_t part, std::int64_t whole) { return fmt::format("{} of {}", part, whole); };
    return {
        line_of(
            data, "lesions found", true, [&](auto r) { return runs[r].counts.recall(); },
            [&](auto r) { return share(runs[r].counts.found, runs[r].counts.lesions); }),
        line_of(
            data, "of the smaller half", true, [&](auto r) { return runs[r].counts.small_recall(); },
            [&](auto r) { return share(runs[r].counts.small_found, runs[r].counts.small_lesions); }),
        line_of(
            data, "false positives", false, [&](auto r) { return static_cast<double>(runs[r].counts.false_positives); },
            [&](auto r) { return fmt::format("{}", runs[r].counts.false_positives); }),
        line_of(
            data, "Dice of scans", true, [&](auto r) { return data.mean_dice(r); },
            [&](auto r) { return fmt::format("{:.3f}", data.mean_dice(r)); }),
        line_of(
            data, "Dice of found lesions", true, [&](auto r) { return runs[r].froc.object_dice.value; },
            [&](auto r) { return fmt::format("{:.3f}", runs[r].froc.object_dice.value); }),
        line_of(
            data, "average recall (95 %)", true, [&](auto r) { return runs[r].froc.average_recall.value; },
            [&](auto r) { return estimate_text(runs[r].froc.average_recall); }),
        line_of(
            data, "predicted / true volume", true, [](auto) { return std::numeric_limits<double>::quiet_NaN(); },
            [&](auto r) { return volume_ratio_text(runs[r].froc.volume_ratio); })};
}

/// Whether runs were evaluated on the same scans: only then can their results be compared.
std::string scan_differences(const ReportData& data) {
    std::vector<const Records*> records;
    std::vector<std::string> names;
    for (const ReportRun& run : data.runs) {
        records.push_back(&run.records);
        names.push_back(run.name);
    }
    return describe_differences(compare_scans(records), names);
}

}  // namespace

std::string results_text(const ReportData& data) {
    std::vector<ResultLine> lines{{"", {}, {}}};
    for (const ReportRun& run : data.runs) lines.front().shown.push_back(run.name);
    for (ResultLine& line : result_lines(data)) lines.push_back(std::move(line));
    std::size_t heading_width = 0;
    std::vector<std::size_t> widths(data.runs.size());
    for (const ResultLine& line : lines) {
        heading_width = std::max(heading_width, line.heading.size());
        for (std::size_t r = 0; r < widths.size(); ++r) widths[r] = std::max(widths[r], letter_count(line.shown[r]));
    }
    std::string text;
    for (const ResultLine& line : lines) {
        text += fmt::format("{:<{}}", line.heading, heading_width);
        for (std::size_t r = 0; r < widths.size(); ++r) text += fmt::format("  {:>{}}", line.shown[r], widths[r]);
        text += '\n';
    }
    return text + scan_differences(data);
}

std::string results_table(const ReportData& data) {
    HtmlTable table{{""}, {}};
    for (std::size_t r = 0; r < data.runs.size(); ++r) table.headings.push_back(run_mark(data.runs[r].name, r));
    for (const ResultLine& line : result_lines(data)) {
        HtmlRow row{line.heading, {}};
        for (std::size_t r = 0; r < data.runs.size(); ++r) row.cells.push_back({line.shown[r], line.best[r]});
        table.rows.push_back(std::move(row));
    }
    const std::string text = scan_differences(data);
    return html_table(table) + (text.empty() ? "" : "<p class=\"note\">" + escape_html(text) + "</p>");
}

}  // namespace iwseg
