#include "apps/report/class_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "apps/report/report_data.h"
#include "apps/report/report_page.h"
#include "apps/report/report_results.h"
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

struct MeansOfRun {
    MeanOfClasses recall, dice, average_recall;
};

/// Of a class and a run: lesions, found, recall, false positives, Dice, average recall.
using Figures = std::array<std::string, 6>;

/// The same line for the page and for a terminal.
class Lines {
  public:
    explicit Lines(std::size_t name_width) : width_(name_width) {
        text_ = fmt::format("{:<{}}  {:<{}}  {:>7}  {:>5}  {:>6}  {:>8}  {:>5}  {:>10}\n", "class", width_, "run",
                            width_, "lesions", "found", "recall", "false p.", "Dice", "av. recall");
    }
    void add(const std::string& name, const std::string& heading, const std::string& values, const std::string& run,
             std::size_t nth, const Figures& figures) {
        HtmlRow row{heading, {{values}, {.html = run_mark(run, nth), .is_text = true}}};
        for (const std::string& figure : figures) row.cells.push_back({figure});
        table_.rows.push_back(std::move(row));
        text_ += fmt::format("{:<{}}  {:<{}}  {:>7}  {:>5}  {:>6}  {:>8}  {:>5}  {:>10}\n", name, width_, run, width_,
                             figures[0], figures[1], figures[2], figures[3], figures[4], figures[5]);
    }
    const HtmlTable& table() const { return table_; }
    const std::string& text() const { return text_; }

  private:
    std::size_t width_;
    HtmlTable table_{
        {"class", "labels", "run", "lesions", "found", "recall", "false positives", "Dice of scans", "average recall"},
        {}};
    std::string text_;
};

std::size_t name_width(const std::vector<RunForReport>& runs, const std::vector<LabelClass>& classes) {
    std::size_t width = std::string_view("mean of classes").size();
    for (const RunForReport& run : runs) width = std::max(width, run.name.size());
    for (const LabelClass& one : classes) width = std::max(width, one.name.size());
    return width;
}

/// One run's figures of a class.
Figures figures_of(const ReportData& data, std::size_t r, MeansOfRun& means) {
    const ReportRun& run = data.runs[r];
    const double average = run.counts.lesions > 0 ? run.froc.average_recall.value : std::nan("");
    means.recall.add(run.counts.recall());
    means.dice.add(data.mean_dice(r));
    means.average_recall.add(average);
    return {fmt::format("{}", run.counts.lesions), fmt::format("{}", run.counts.found),
            share_text(run.counts.recall()),       fmt::format("{}", run.counts.false_positives),
            share_text(data.mean_dice(r)),         share_text(average)};
}

}  // namespace

std::string write_class_report(const std::filesystem::path& dataset, const std::vector<RunForReport>& runs,
                               const std::vector<LabelClass>& classes, const std::filesystem::path& html,
                               const std::string& summary) {
    Lines lines(name_width(runs, classes));
    std::vector<MeansOfRun> means(runs.size());
    std::string title, differences;
    const RunFiles beside(html.parent_path());
    for (const LabelClass& of : classes) {
        ReportData data = read_report_data(dataset, runs, &of);
        data.summary = "../../" + html.filename().string();
        make_folder(beside.of_class(of.name).root());
        write_report(data, beside.of_class(of.name).report());
        const std::string link =
            fmt::format(R"(<a href="{}">{}</a>)", escape_html(RunFiles("").of_class(of.name).report().generic_string()),
                        escape_html(of.name));
        for (std::size_t r = 0; r < runs.size(); ++r)
            lines.add(of.name, link, fmt::format("{}", fmt::join(of.values, " + ")), runs[r].name, r,
                      figures_of(data, r, means[r]));
        if (differences.empty()) differences = scan_differences(data);
        title = data.dataset.name.empty() ? data.dataset.folder.filename().string() : data.dataset.name;
    }
    for (std::size_t r = 0; r < runs.size(); ++r)
        lines.add("mean of classes", "mean of classes", "", runs[r].name, r,
                  {"", "", means[r].recall.text(), "", means[r].dice.text(), means[r].average_recall.text()});
    const std::string body = fmt::format(
        "<h1>{}</h1><p class=\"lead\">{} classes, each evaluated lesion by lesion. Lesions of a class are "
        "the connected components of its labels; a class's name leads to its own report.</p><section>"
        "<h2>Class by class</h2>{}{}</section><footer>Written by iwseg {}. Not for clinical use.{}</footer>",
        escape_html(title), classes.size(), html_table(lines.table()),
        differences.empty() ? "" : "<p class=\"note\">" + escape_html(differences) + "</p>", kVersion,
        summary.empty() ? "" : fmt::format(R"( <a href="{}">All experiments</a>.)", escape_html(summary)));
    write_text(html, html_page("iwseg: " + title, body));
    return lines.text() + differences;
}

}  // namespace iwseg
