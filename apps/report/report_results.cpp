#include "apps/report/report_results.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/report/best_value.h"
#include "apps/report/report_charts.h"
#include "apps/report/report_page.h"
#include "apps/terminal/wrapped_text.h"
#include "base/letters.h"
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

std::string share_text(std::int64_t part, std::int64_t whole) {
    return fmt::format("{} of {}", part, whole);
}

/// Of its own test scans: one that was chosen on them does not make their masks (apps/prediction/mask_rules.h).
DetectionRule mask_rule(const ReportRun& run) {
    return run.operating_point && !run.operating_point->on_test_scans ? run.operating_point->rule : DetectionRule{};
}

/// Whether masks and records are made by one rule in all runs.
bool one_rule(const ReportData& data) {
    return std::all_of(data.runs.begin(), data.runs.end(),
                       [](const ReportRun& run) { return mask_rule(run) == DetectionRule{}; });
}

/// suffix: of the headings.
std::vector<ResultLine> count_lines(const ReportData& data, const std::string& suffix) {
    const auto& runs = data.runs;
    return {line_of(
                data, "lesions found" + suffix, true, [&](auto r) { return runs[r].counts.recall(); },
                [&](auto r) { return share_text(runs[r].counts.found, runs[r].counts.lesions); }),
            line_of(
                data, "of the smaller half" + suffix, true, [&](auto r) { return runs[r].counts.small_recall(); },
                [&](auto r) { return share_text(runs[r].counts.small_found, runs[r].counts.small_lesions); }),
            line_of(
                data, "false positives" + suffix, false,
                [&](auto r) { return static_cast<double>(runs[r].counts.false_positives); },
                [&](auto r) { return fmt::format("{}", runs[r].counts.false_positives); })};
}

std::vector<ResultLine> mask_count_lines(const ReportData& data) {
    const auto counts = [&](std::size_t run) { return data.mask_counts(run); };
    const auto has_masks = [&](std::size_t run) { return std::isfinite(data.mean_dice(run)); };
    return {line_of(
                data, "lesions found in masks", true, [&](auto r) { return counts(r).recall(); },
                [&](auto r) { return has_masks(r) ? share_text(counts(r).found, counts(r).lesions) : "-"; }),
            line_of(
                data, "false positives in masks", false,
                [&](auto r) {
                    return has_masks(r) ? static_cast<double>(counts(r).false_positives)
                                        : std::numeric_limits<double>::quiet_NaN();
                },
                [&](auto r) { return has_masks(r) ? fmt::format("{}", counts(r).false_positives) : "-"; })};
}

std::vector<ResultLine> result_lines(const ReportData& data) {
    const auto& runs = data.runs;
    const bool alike = one_rule(data);
    const std::string suffix = alike ? "" : " (p > 0.5)";
    std::vector<ResultLine> lines = count_lines(data, suffix);
    if (!alike)
        for (ResultLine& line : mask_count_lines(data)) lines.push_back(std::move(line));
    lines.push_back(line_of(
        data, alike ? "Dice of scans" : "Dice of masks", true, [&](auto r) { return data.mean_dice(r); },
        [&](auto r) { return std::isfinite(data.mean_dice(r)) ? fmt::format("{:.3f}", data.mean_dice(r)) : "-"; }));
    lines.push_back(line_of(
        data, "Dice of found lesions" + suffix, true, [&](auto r) { return runs[r].froc.object_dice.value; },
        [&](auto r) { return fmt::format("{:.3f}", runs[r].froc.object_dice.value); }));
    lines.push_back(line_of(
        data, "average recall (95 %)", true, [&](auto r) { return runs[r].froc.average_recall.value; },
        [&](auto r) { return estimate_text(runs[r].froc.average_recall); }));
    lines.push_back(line_of(
        data, "predicted / true volume" + suffix, true, [](auto) { return std::numeric_limits<double>::quiet_NaN(); },
        [&](auto r) { return volume_ratio_text(runs[r].froc.volume_ratio); }));
    return lines;
}

/// What the lines are of, under the table.
std::string meaning_of_lines(const ReportData& data) {
    if (one_rule(data)) return "Detections and masks are the voxels of a probability above 0.5.";
    return "p > 0.5: detections are of a probability above 0.5, as in the records that evaluate and froc count. " +
           masks_sentence(data) + " Scan by scan and pictures are of the masks.";
}

}  // namespace

std::string scan_differences(const ReportData& data) {
    std::vector<const Records*> records;
    std::vector<std::string> names;
    for (const ReportRun& run : data.runs) {
        records.push_back(&run.records);
        names.push_back(run.name);
    }
    return describe_differences(compare_scans(records), names);
}

std::string masks_sentence(const ReportData& data) {
    std::vector<std::string> rules, named;
    for (const ReportRun& run : data.runs) {
        rules.push_back(rule_text(mask_rule(run)));
        named.push_back(fmt::format("{} ({})", rules.back(), run.name));
    }
    const bool same = std::all_of(rules.begin(), rules.end(), [&](const auto& rule) { return rule == rules.front(); });
    return fmt::format("Masks are made by {}.", same ? rules.front() : fmt::format("{}", fmt::join(named, "; ")));
}

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
    for (const std::string& line : wrapped(meaning_of_lines(data), 80)) text += line + '\n';
    return text + scan_differences(data);
}

std::string results_table(const ReportData& data) {
    HtmlTable table{{""}, {}};
    for (std::size_t r = 0; r < data.runs.size(); ++r) table.headings.push_back(run_mark(data.runs[r].name, r));
    for (const ResultLine& line : result_lines(data)) {
        HtmlRow row{escape_html(line.heading), {}};
        for (std::size_t r = 0; r < data.runs.size(); ++r) row.cells.push_back({line.shown[r], line.best[r]});
        table.rows.push_back(std::move(row));
    }
    const std::string text = scan_differences(data);
    return html_table(table) + "<p class=\"note\">" + escape_html(meaning_of_lines(data)) + "</p>" +
           (text.empty() ? "" : "<p class=\"note\">" + escape_html(text) + "</p>");
}

}  // namespace iwseg
