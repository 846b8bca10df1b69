#include "apps/report/report_provenance.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "apps/report/report_page.h"
#include "apps/run_folder/run_files.h"
#include "apps/run_folder/run_folder.h"
#include "apps/run_folder/run_sessions.h"
#include "apps/terminal/progress.h"
#include "apps/training/training_run.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnknown = "not recorded";

/// A run with what its folder says of its making.
struct Made {
    const ReportRun& run;
    std::vector<RunSession> sessions;
    std::optional<Split> split;
};

Made made_of(const ReportRun& run) {
    Made made{run, read_sessions(RunFiles(run.folder).sessions()), std::nullopt};
    if (const fs::path file = RunFiles(run.folder).split(); fs::exists(file)) made.split = read_split(file);
    return made;
}

/// Each value once, in the order of the sessions.
std::string each_of(const Made& made, const std::function<std::string(const RunSession&)>& value) {
    std::vector<std::string> values;
    for (const RunSession& session : made.sessions)
        if (std::string one = value(session);
            !one.empty() && std::find(values.begin(), values.end(), one) == values.end())
            values.push_back(escape_html(one));
    return values.empty() ? kUnknown : fmt::format("{}", fmt::join(values, "; "));
}

std::string dates(const Made& made) {
    if (made.sessions.empty()) return kUnknown;
    const auto shown = [](std::string iso) { return iso.size() < 16 ? iso : iso.replace(10, 1, " ").substr(0, 16); };
    const RunSession& last = made.sessions.back();
    return escape_html(fmt::format("{} to {} UTC", shown(made.sessions.front().begun),
                                   last.ended.empty() ? "(killed)" : shown(last.ended))) +
           (made.sessions.size() > 1 ? fmt::format(", in {} sessions", made.sessions.size()) : "");
}

std::string duration(const Made& made) {
    double seconds = 0;
    for (const LoggedStep& step : made.run.log) seconds += step.seconds;
    if (made.run.log.empty()) return kUnknown;
    return fmt::format("{} for {} steps", clock_text(seconds),
                       count_text(static_cast<std::int64_t>(made.run.log.size())));
}

std::string memory(const Made& made) {
    std::int64_t arena = 0, peak = 0;
    for (const RunSession& session : made.sessions) {
        arena = std::max(arena, session.arena_bytes);
        peak = std::max(peak, session.peak_bytes);
    }
    if (made.sessions.empty()) return kUnknown;
    std::string text = fmt::format("{:.3g} GB for a step", static_cast<double>(arena) / 1e9);
    return peak > 0 ? text + fmt::format(", {:.3g} GB the whole process", static_cast<double>(peak) / 1e9) : text;
}

std::string network(const Made& made) {
    return escape_html(fmt::format("widths {}, patch {} x {} x {}, batch {}, {}",
                                   fmt::join(made.run.config.widths, ", "), made.run.config.patch[0],
                                   made.run.config.patch[1], made.run.config.patch[2], made.run.config.batch,
                                   made.run.config.precision));
}

std::string split(const Made& made) {
    if (!made.split) return kUnknown;
    return fmt::format("{} to train, {} to validate, {} to test", made.split->train.size(),
                       made.split->validation.size(), made.split->test.size());
}

std::string masks(const Made& made) {
    const std::optional<OperatingPoint>& point = made.run.operating_point;
    if (!point) return "probability &gt; 0.5";
    std::string text = rule_text(point->rule) + ", " + choice_text(*point);
    if (point->on_test_scans)
        text +=
            "; some of those scans are tested on as well: their masks are made at 0.5, so that what is chosen on them "
            "does "
            "not flatter them";
    return escape_html(text);
}

HtmlTable facts(const ReportData& data, const std::vector<Made>& runs) {
    HtmlTable table{{""}, {}};
    for (std::size_t r = 0; r < runs.size(); ++r) table.headings.push_back(run_mark(runs[r].run.name, r));
    const auto add = [&](const char* name, auto&& value) {
        HtmlRow row{name, {}};
        for (const Made& run : runs) row.cells.push_back({.html = value(run), .is_text = true});
        table.rows.push_back(std::move(row));
    };
    add("dataset", [&](const Made&) { return escape_html(data.dataset.folder.string()); });
    add("split", split);
    add("masks", masks);
    add("loss", [](const Made& made) { return escape_html(made.run.config.loss); });
    add("network", network);
    add("trained", dates);
    add("by iwseg", [](const Made& made) { return each_of(made, [](const RunSession& s) { return s.version; }); });
    add("on", [](const Made& made) { return each_of(made, [](const RunSession& s) { return s.device; }); });
    add("time of training", duration);
    add("memory", memory);
    return table;
}

/// The keys that not all runs have in common.
std::string differences(const ReportData& data) {
    std::set<std::string> keys;
    for (const ReportRun& run : data.runs)
        for (const std::string& key : differing_keys(data.runs.front().config, run.config)) keys.insert(key);
    if (data.runs.size() < 2) return "";
    if (keys.empty()) return "<p>The runs have the same configuration.</p>";
    return fmt::format("<p>The configurations differ in: {}.</p>",
                       escape_html(fmt::format("{}", fmt::join(keys, ", "))));
}

}  // namespace

std::string provenance_section(const ReportData& data) {
    std::vector<Made> runs;
    for (const ReportRun& run : data.runs) runs.push_back(made_of(run));
    std::string html = html_table(facts(data, runs)) + differences(data);
    for (std::size_t r = 0; r < data.runs.size(); ++r)
        html += fmt::format("<details><summary>Configuration of {}</summary><pre>{}</pre></details>",
                            run_mark(data.runs[r].name, r), escape_html(config_toml(data.runs[r].config)));
    return html;
}

}  // namespace iwseg
