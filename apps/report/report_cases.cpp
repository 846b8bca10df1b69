#include "apps/report/report_cases.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/report/report_page.h"
#include "apps/report/report_results.h"
#include "apps/report/slice_image.h"

namespace iwseg {
namespace {

/// A scan as one run sees it.
struct CaseRow {
    const ReportCase& scan;
    std::size_t run;
    std::int64_t found, false_positives;
    double dice, target_ml, predicted_ml;
};

std::vector<CaseRow> case_rows(const ReportData& data) {
    std::vector<CaseRow> rows;
    for (const ReportCase& scan : data.cases) {
        const auto spacing = scan.geometry.spacing();
        const double ml = spacing[0] * spacing[1] * spacing[2] / 1000;  // of a voxel
        for (std::size_t run = 0; run < data.runs.size(); ++run) {
            const auto& [present, detections, found, wrong, dice] = scan.predictions[run];
            if (!present) continue;
            rows.push_back({scan, run, std::count(found.begin(), found.end(), true),
                            std::count(wrong.begin(), wrong.end(), true), dice,
                            ml * static_cast<double>(scan.lesions.voxels.size()),
                            ml * static_cast<double>(detections.voxels.size())});
        }
    }
    return rows;
}

/// Three digits, and as many more as whole millilitres have.
std::string ml_text(double ml) {
    return ml >= 100 ? fmt::format("{:.0f}", ml) : fmt::format("{:.3g}", ml);
}

/// In quotes where a comma, a quote or a line's end would else be read as CSV's own.
std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (const char letter : text) quoted += letter == '"' ? std::string("\"\"") : std::string(1, letter);
    return quoted + "\"";
}

}  // namespace

std::string cases_csv(const ReportData& data) {
    std::string csv = "case,run,lesions,found,false_positives,dice,target_ml,predicted_ml\r\n";
    for (const CaseRow& row : case_rows(data))
        csv += fmt::format("{},{},{},{},{},{:.6f},{:.6g},{:.6g}\r\n", csv_field(row.scan.name),
                           csv_field(data.runs[row.run].name), row.scan.lesions.size(), row.found, row.false_positives,
                           row.dice, row.target_ml, row.predicted_ml);
    return csv;
}

std::string cases_section(const ReportData& data) {
    const std::vector<CaseRow> rows = case_rows(data);
    if (rows.empty()) return "";
    HtmlTable table{{"scan", "run", "lesions", "found", "false positives", "Dice", "true volume, ml", "predicted, ml"},
                    {}};
    for (const CaseRow& row : rows)
        table.rows.push_back({escape_html(row.scan.name),
                              {{.html = run_mark(data.runs[row.run].name, row.run), .is_text = true},
                               {fmt::format("{}", row.scan.lesions.size())},
                               {fmt::format("{}", row.found)},
                               {fmt::format("{}", row.false_positives)},
                               {fmt::format("{:.3f}", row.dice)},
                               {ml_text(row.target_ml)},
                               {ml_text(row.predicted_ml)}}});
    return fmt::format(R"(<p class="note">{} Volumes in millilitres. <a download="cases.csv" )"
                       R"(href="data:text/csv;charset=utf-8;base64,{}">The same as CSV</a></p>)",
                       escape_html(masks_sentence(data)), base64(cases_csv(data))) +
           html_table(table);
}

}  // namespace iwseg
