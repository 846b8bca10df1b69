#include "apps/report/report_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/report/report_charts.h"
#include "apps/report/report_page.h"

namespace iwseg {
namespace {

constexpr const char* kLossText =
    R"(<p>The loss is what training makes small. The line is its mean over steps next to each other; the band holds four
fifths of the single steps. Values of different losses measure different things and cannot be compared.</p>)";

constexpr const char* kValidationText =
    R"(<p>Validation scans are not trained on. The best weights are those of the largest average recall there; the masks'
threshold is chosen there as well, where none of these scans is among those tested on.</p>)";

/// One curve a run, of what `point` adds to it; none where no run has any.
std::string chart_of_runs(const ReportData& data, const ChartOptions& options, auto&& fill) {
    std::vector<Curve> curves;
    for (const ReportRun& run : data.runs) {
        Curve curve{run.name, {}, {}, {}, {}};
        curve.colour = colour_of(data, run);
        fill(run, curve);
        if (!curve.x.empty()) curves.push_back(std::move(curve));
    }
    return curves.empty() ? "" : chart_card(line_chart(curves, options));
}

std::string loss_charts(const ReportData& data) {
    std::string html;
    for (const ReportRun& run : data.runs) {
        if (run.log.empty()) continue;
        Curve curve = loss_curve(run);
        curve.colour = colour_of(data, run);
        html += chart_card(line_chart({curve}, chart_options("Loss of " + run.name, "step", run.config.loss)));
    }
    return html;
}

/// Corners of the steps that the rate goes down by, which is all that its curve has.
std::string rate_chart(const ReportData& data) {
    ChartOptions options = chart_options("Learning rate", "step", "learning rate");
    options.log_y = true;
    return chart_of_runs(data, options, [](const ReportRun& run, Curve& curve) {
        for (std::size_t i = 0; i < run.log.size(); ++i) {
            const bool corner = i == 0 || i + 1 == run.log.size() || run.log[i].rate != run.log[i - 1].rate ||
                                run.log[i].rate != run.log[i + 1].rate;
            if (!corner) continue;
            curve.x.push_back(run.log[i].step);
            curve.y.push_back(run.log[i].rate);
        }
    });
}

std::string validation_charts(const ReportData& data) {
    ChartOptions recall = chart_options("Validation: average recall", "step", "average recall");
    ChartOptions dice = chart_options("Validation: Dice of scans", "step", "Dice");
    recall.y_max = dice.y_max = 1;
    return chart_of_runs(data, recall,
                         [](const ReportRun& run, Curve& curve) {
                             for (const ValidationScore& score : run.validation) {
                                 if (!score.average_recall) continue;
                                 curve.x.push_back(static_cast<double>(score.step));
                                 curve.y.push_back(*score.average_recall);
                             }
                         }) +
           chart_of_runs(data, dice, [](const ReportRun& run, Curve& curve) {
               for (const ValidationScore& score : run.validation) {
                   curve.x.push_back(static_cast<double>(score.step));
                   curve.y.push_back(score.dice);
               }
           });
}

std::string loss_table(const ReportRun& run) {
    constexpr int rows = 10;
    HtmlTable table{{"up to step", "mean loss", "10th percentile", "90th percentile"}, {}};
    const Curve curve = loss_curve(run, rows);
    for (std::size_t i = 0; i < curve.x.size(); ++i)
        table.rows.push_back({fmt::format("{:.0f}", curve.x[i]),
                              {{fmt::format("{:.4g}", curve.y[i])},
                               {fmt::format("{:.4g}", curve.low[i])},
                               {fmt::format("{:.4g}", curve.high[i])}}});
    return html_table(table);
}

std::string validation_table(const ReportRun& run) {
    HtmlTable table{{"step", "scans", "lesions", "average recall", "Dice", "loss"}, {}};
    const ValidationScore* best = best_of(run.validation);
    for (const ValidationScore& score : run.validation)
        table.rows.push_back(
            {fmt::format("{}", score.step),
             {{fmt::format("{}", score.scans)},
              {fmt::format("{}", score.lesions)},
              {score.average_recall ? fmt::format("{:.3f}", *score.average_recall) : "-", &score == best},
              {fmt::format("{:.3f}", score.dice), &score == best},
              {fmt::format("{:.4g}", score.loss)}}});
    return html_table(table);
}

std::string tables(const ReportData& data) {
    std::string html;
    for (std::size_t r = 0; r < data.runs.size(); ++r) {
        const ReportRun& run = data.runs[r];
        if (!run.log.empty())
            html += fmt::format("<details><summary>{}: loss in numbers</summary>{}</details>", run_mark(run.name, r),
                                loss_table(run));
        if (!run.validation.empty())
            html += fmt::format("<details><summary>{}: validation in numbers</summary>{}</details>",
                                run_mark(run.name, r), validation_table(run));
    }
    return html;
}

std::string charts(const std::string& content) {
    return "<div class=\"charts\">" + content + "</div>";
}

}  // namespace

Curve loss_curve(const ReportRun& run, int points) {
    Curve curve{run.name, {}, {}, {}, {}};
    const std::size_t steps = run.log.size() / static_cast<std::size_t>(points) + 1;
    for (std::size_t begin = 0; begin < run.log.size(); begin += steps) {
        const std::size_t end = std::min(begin + steps, run.log.size());
        std::vector<double> losses;
        double sum = 0;
        for (std::size_t i = begin; i < end; ++i) {
            losses.push_back(run.log[i].loss);
            sum += run.log[i].loss;
        }
        std::sort(losses.begin(), losses.end());
        const auto percentile = [&](double part) {
            return losses[static_cast<std::size_t>(std::lround(part * static_cast<double>(losses.size() - 1)))];
        };
        curve.x.push_back(run.log[end - 1].step);
        curve.y.push_back(sum / static_cast<double>(losses.size()));
        curve.low.push_back(percentile(0.1));
        curve.high.push_back(percentile(0.9));
    }
    return curve;
}

std::string training_section(const ReportData& data) {
    const std::string losses = loss_charts(data);
    if (losses.empty()) return "";
    std::string html = kLossText + charts(losses + rate_chart(data));
    if (const std::string validation = validation_charts(data); !validation.empty())
        html += kValidationText + charts(validation);
    return html + tables(data);
}

}  // namespace iwseg
