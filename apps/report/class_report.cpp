#include "apps/report/class_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "apps/report/report_data.h"
#include "apps/report/report_page.h"
#include "apps/run_folder/run_files.h"
#include "apps/version.h"
#include "base/atomic_file.h"
#include "base/folder.h"

namespace iwseg {
namespace {

/// The mean over classes, of those that have a value.
struct MeanOfClasses {
    double sum = 0;
    int classes = 0;

    void add(double value) {
        if (std::isnan(value)) return;
        sum += value;
        ++classes;
    }
    std::string text() const { return classes == 0 ? "-" : fmt::format("{:.3f}", sum / classes); }
};

std::string share_text(double value) {
    return std::isnan(value) ? "-" : fmt::format("{:.3f}", value);
}

struct Means {
    MeanOfClasses recall, dice, average_recall;
};

/// One run's line of a class.
HtmlRow row_of(const ReportData& data, const LabelClass& of, std::size_t r, Means& means) {
    const ReportRun& run = data.runs[r];
    const double average = run.counts.lesions > 0 ? run.froc.average_recall.value : std::nan("");
    means.recall.add(run.counts.recall());
    means.dice.add(data.mean_dice(r));
    means.average_recall.add(average);
    return {fmt::format(R"(<a href="{}">{}</a>)", escape_html(RunFiles("").of_class(of.name).report().generic_string()),
                        escape_html(of.name)),
            {{fmt::format("{}", fmt::join(of.values, " + "))},
             {.html = run_mark(run.name, r), .is_text = true},
             {fmt::format("{}", run.counts.lesions)},
             {fmt::format("{}", run.counts.found)},
             {share_text(run.counts.recall())},
             {fmt::format("{}", run.counts.false_positives)},
             {share_text(data.mean_dice(r))},
             {share_text(average)}}};
}

}  // namespace

void write_class_report(const std::filesystem::path& dataset, const std::vector<RunForReport>& runs,
                        const std::vector<LabelClass>& classes, const std::filesystem::path& html,
                        const std::string& summary) {
    HtmlTable table{
        {"class", "labels", "run", "lesions", "found", "recall", "false positives", "Dice of scans", "average recall"},
        {}};
    std::vector<Means> means(runs.size());
    std::string title;
    const RunFiles beside(html.parent_path());
    for (const LabelClass& of : classes) {
        ReportData data = read_report_data(dataset, runs, &of);
        data.summary = "../../" + html.filename().string();
        make_folder(beside.of_class(of.name).root());
        write_report(data, beside.of_class(of.name).report());
        for (std::size_t r = 0; r < runs.size(); ++r) table.rows.push_back(row_of(data, of, r, means[r]));
        title = data.dataset.name.empty() ? data.dataset.folder.filename().string() : data.dataset.name;
    }
    for (std::size_t r = 0; r < runs.size(); ++r)
        table.rows.push_back({"mean of classes",
                              {{""},
                               {.html = run_mark(runs[r].name, r), .is_text = true},
                               {""},
                               {""},
                               {means[r].recall.text()},
                               {""},
                               {means[r].dice.text()},
                               {means[r].average_recall.text()}}});
    const std::string body = fmt::format(
        "<h1>{}</h1><p class=\"lead\">{} classes, each evaluated lesion by lesion. Lesions of a class are "
        "the connected pieces of its labels; a class's name leads to its own report.</p><section>"
        "<h2>Class by class</h2>{}</section><footer>Written by iwseg {}. Not for clinical use.{}</footer>",
        escape_html(title), classes.size(), html_table(table), kVersion,
        summary.empty() ? "" : fmt::format(R"( <a href="{}">All experiments</a>.)", escape_html(summary)));
    write_text(html, html_page("iwseg: " + title, body));
}

}  // namespace iwseg
