#include "apps/experiments/experiments_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "apps/evaluation/froc_files.h"
#include "apps/report/best_value.h"
#include "apps/report/report_page.h"
#include "apps/run_folder/run_files.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "evaluation/froc.h"
#include "evaluation/metrics.h"
#include "evaluation/scan_sets.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// One finished experiment by both protocols.
struct Finished {
    std::string name;
    Froc corrected;
    std::optional<Froc> paper;  ///< none where the protocol refuses
    LesionCounts counts;
    std::vector<std::string> missing_scans, other_lesions;  ///< of ScanSets

    const SizeStratum* small() const { return corrected.strata.empty() ? nullptr : corrected.strata.data(); }
    const SizeStratum* large() const { return corrected.strata.size() < 2 ? nullptr : &corrected.strata[1]; }
};

struct Summary {
    std::vector<Finished> finished;
    std::vector<std::string> missing;
    SizeBound small;
    std::string differences, paper_refused;  ///< sentences for the reader; empty: none
};

/// Recall of one size, averaged over 0 to 5 false positives a scan as average_recall is.
double average_recall(const Froc& froc, const SizeStratum& stratum) {
    double sum = 0;
    int points = 0;
    for (std::size_t i = 0; i < froc.false_positives.size() && froc.false_positives[i] <= 5.0 + 1e-9; ++i, ++points)
        sum += stratum.curve.recall[i];
    return sum / points;
}

/// As configured, in voxels; else of the smaller half, in mm where all records know them.
SizeBound bound_of_small(const std::vector<Experiment>& experiments, const std::vector<Records>& records) {
    if (const double given = experiments.front().config.small_diameter; given > 0) return {given, SizeUnit::voxels};
    const bool mm =
        std::all_of(records.begin(), records.end(), [](const Records& one) { return size_unit(one) == SizeUnit::mm; });
    const SizeUnit unit = mm ? SizeUnit::mm : SizeUnit::voxels;
    std::vector<double> diameters;
    for (const Records& one : records) {
        const std::vector<double> own = lesion_diameters(one, unit);
        diameters.insert(diameters.end(), own.begin(), own.end());
    }
    const std::vector<double> bounds = size_bounds(std::move(diameters), 2);
    return {bounds.empty() ? 0 : bounds.front(), unit};
}

void note_differences(const std::vector<std::string>& names, const std::vector<Records>& records, Summary& summary) {
    std::vector<const Records*> all;
    for (const Records& one : records) all.push_back(&one);
    const ScanSets sets = compare_scans(all);
    summary.differences = describe_differences(sets, names);
    for (std::size_t i = 0; i < records.size(); ++i) {
        summary.finished[i].missing_scans = sets.missing[i];
        summary.finished[i].other_lesions = sets.other_lesions;
    }
}

Summary summarise(const fs::path& out, const std::vector<Experiment>& experiments) {
    Summary summary;
    std::vector<Records> records;
    std::vector<std::string> names;
    for (const Experiment& experiment : experiments) {
        const fs::path file = RunFiles(out / experiment.name).records();
        if (!fs::exists(file)) {
            summary.missing.push_back(experiment.name);
            continue;
        }
        records.push_back(read_records(file));
        names.push_back(experiment.name);
    }
    if (records.empty()) return summary;
    summary.small = bound_of_small(experiments, records);
    FrocOptions corrected, paper;
    corrected.stratum_bounds = {summary.small.diameter, std::numeric_limits<double>::infinity()};
    corrected.size_unit = summary.small.unit;
    paper.protocol = FrocProtocol::paper;
    for (std::size_t i = 0; i < records.size(); ++i) {
        Finished one{names[i], compute_froc(records[i], corrected), {}, {}, {}, {}};
        try {
            one.paper = compute_froc(records[i], paper);
        } catch (const InputError& error) {
            summary.paper_refused = fmt::format("{}: {}", names[i], error.what());
        }
        for (const auto& [scan, list] : records[i]) one.counts += count_lesions(list, summary.small);
        summary.finished.push_back(std::move(one));
    }
    note_differences(names, records, summary);
    return summary;
}

// ----------------------------------------------------------------------------------------------------------------------

struct Column {
    std::string heading;
    std::vector<std::string> cells;
    std::vector<bool> best;
};

/// A column by what is shown of each experiment, and the value by which the best is found; NaN: no such.
Column column_of(const Summary& summary, const std::string& heading, bool higher_is_better, auto&& cell, auto&& value) {
    Column column{heading, {}, {}};
    std::vector<double> values;
    std::vector<bool> left_out;
    for (const Finished& one : summary.finished) {
        column.cells.push_back(cell(one));
        values.push_back(value(one));
        left_out.push_back(covers_too_much(one.corrected.volume_ratio));
    }
    column.best = best_values(values, higher_is_better, left_out);
    return column;
}

std::vector<Column> columns(const Summary& summary) {
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    const auto column = [&](const std::string& heading, auto&& cell, auto&& value, bool higher = true) {
        return column_of(summary, heading, higher, cell, value);
    };
    const auto not_compared = [](const Finished&) { return none; };
    const auto decimals = [](auto&& value) {
        return [value](const Finished& one) {
            return std::isnan(value(one)) ? std::string("-") : fmt::format("{:.3f}", value(one));
        };
    };
    const auto dice = [](const Finished& one) { return one.corrected.object_dice.value; };
    const auto recall = [](const Finished& one) { return one.corrected.average_recall.value; };
    const auto of_size = [](auto&& member) {
        return [member](const Finished& one) {
            const SizeStratum* stratum = (one.*member)();
            return stratum && stratum->lesions > 0 ? average_recall(one.corrected, *stratum) : none;
        };
    };
    const auto small = of_size(&Finished::small), large = of_size(&Finished::large);
    const auto paper_dice = [](const Finished& one) { return one.paper ? one.paper->object_dice.value : none; };
    const auto paper_recall = [](const Finished& one) { return one.paper ? one.paper->average_recall.value : none; };
    return {
        column(
            "experiment", [](const Finished& one) { return one.name; }, not_compared),
        column(
            "average recall", [&](const Finished& one) { return with_interval(one.corrected.average_recall); }, recall),
        column("of small", decimals(small), small),
        column("of large", decimals(large), large),
        column("object Dice", decimals(dice), dice),
        column(
            "volume", [](const Finished& one) { return volume_ratio_text(one.corrected.volume_ratio); }, not_compared),
        column(
            "found", [](const Finished& one) { return fmt::format("{} of {}", one.counts.found, one.counts.lesions); },
            [](const Finished& one) { return one.counts.recall(); }),
        column(
            "small found",
            [](const Finished& one) {
                return fmt::format("{} of {}", one.counts.small_found, one.counts.small_lesions);
            },
            [](const Finished& one) { return one.counts.small_recall(); }),
        column(
            "FP a scan", [](const Finished& one) { return fmt::format("{:.1f}", one.corrected.all_false_positives); },
            [](const Finished& one) { return one.corrected.all_false_positives; }, false),
        column("Dice as published", decimals(paper_dice), not_compared),
        column("recall as published", decimals(paper_recall), not_compared)};
}

std::string notes(const Summary& summary) {
    std::string text = fmt::format(
        "Average recall is over 0 to 5 false positives a scan, by the corrected protocol, where a detection that "
        "covers much "
        "more than what it hits is a false positive; in brackets the 95 % interval. Small lesions are at most {:.1f} "
        "{} in "
        "diameter. Volume is predicted over true: above {:g} lesions are met by covering the scan, and the run is not "
        "compared with the others. As published means the protocol paper, where any overlap is a hit.\n",
        summary.small.diameter, name_of(summary.small.unit), kLargestSensibleVolumeRatio);
    text += summary.differences;
    if (!summary.paper_refused.empty()) text += "Not computed as published: " + summary.paper_refused + ".\n";
    if (!summary.missing.empty()) text += fmt::format("Not finished: {}\n", fmt::join(summary.missing, ", "));
    return text;
}

std::size_t width_of(const Column& column) {
    return std::accumulate(column.cells.begin(), column.cells.end(), column.heading.size(),
                           [](std::size_t most, const std::string& cell) { return std::max(most, cell.size()); });
}

/// The first column and the others beside it.
std::string text_block(const Column& names, const std::vector<Column>& others) {
    std::string text;
    const auto add_row = [&](auto&& cell) {
        text += fmt::format("{:<{}}", cell(names), width_of(names));
        for (const Column& column : others) text += fmt::format("  {:>{}}", cell(column), width_of(column));
        text += "\n";
    };
    add_row([](const Column& column) { return column.heading; });
    for (std::size_t row = 0; row < names.cells.size(); ++row)
        add_row([&](const Column& column) { return column.cells[row]; });
    return text;
}

/// As many columns a block as a terminal's 80 letters hold, the first in each block.
std::string text_table(const Summary& summary) {
    constexpr std::size_t most = 80;
    const std::vector<Column> shown = columns(summary);
    std::string text;
    std::vector<Column> block;
    std::size_t width = width_of(shown[0]);
    for (std::size_t c = 1; c < shown.size(); ++c) {
        if (!block.empty() && width + 2 + width_of(shown[c]) > most) {
            text += text_block(shown[0], block) + "\n";
            block.clear();
            width = width_of(shown[0]);
        }
        width += 2 + width_of(shown[c]);
        block.push_back(shown[c]);
    }
    return text + text_block(shown[0], block);
}

/// Names are links to the runs' reports, where there are any.
HtmlTable results_of(const Summary& summary, const fs::path& out) {
    const std::vector<Column> shown = columns(summary);
    HtmlTable table;
    for (const Column& column : shown) table.headings.push_back(escape_html(column.heading));
    for (std::size_t row = 0; row < summary.finished.size(); ++row) {
        const std::string& name = shown.front().cells[row];
        const fs::path report = RunFiles(name).report();  // from the folder that the page is in
        HtmlRow filled{fs::exists(out / report) ? fmt::format(R"(<a href="{}">{}</a>)",
                                                              escape_html(report.generic_string()), escape_html(name))
                                                : escape_html(name),
                       {}};
        for (std::size_t c = 1; c < shown.size(); ++c)
            filled.cells.push_back({escape_html(shown[c].cells[row]), shown[c].best[row]});
        table.rows.push_back(std::move(filled));
    }
    return table;
}

// ----------------------------------------------------------------------------------------------------------------------

std::string summary_json(const Summary& summary, const std::vector<NamedFroc>& corrected,
                         const std::vector<NamedFroc>& paper) {
    nlohmann::ordered_json document{{"small_diameter", summary.small.diameter},
                                    {"size_unit", name_of(summary.small.unit)},
                                    {"missing", summary.missing}};
    document["corrected"] = nlohmann::ordered_json::parse(froc_json(corrected, FrocProtocol::corrected));
    document["paper"] = nlohmann::ordered_json::parse(froc_json(paper, FrocProtocol::paper));
    for (const Finished& one : summary.finished) {
        nlohmann::ordered_json& object = document["corrected"][one.name];
        object["found"] = one.counts.found;
        object["small_lesions"] = one.counts.small_lesions;
        object["small_found"] = one.counts.small_found;
        object["false_positives"] = one.counts.false_positives;
        if (one.small()) object["avg_recall_small"] = average_recall(one.corrected, *one.small());
        if (one.large()) object["avg_recall_large"] = average_recall(one.corrected, *one.large());
    }
    return document.dump(1) + "\n";
}

std::string figure(const std::string& svg) {
    return "<div class=\"chart\">" + svg + "</div>";
}

}  // namespace

void write_summary(const fs::path& out, const std::vector<Experiment>& experiments) {
    const Summary summary = summarise(out, experiments);
    if (summary.finished.empty()) {
        fmt::print("\nno experiment is finished\n");
        return;
    }
    std::vector<NamedFroc> corrected, paper;
    for (const Finished& one : summary.finished) {
        corrected.push_back({one.name, one.corrected, one.missing_scans, one.other_lesions});
        if (one.paper) paper.push_back({one.name, *one.paper, one.missing_scans, one.other_lesions});
    }
    const std::string all = froc_chart(corrected, "All lesions");
    const std::string bound = fmt::format("{:.1f} {} in diameter", summary.small.diameter, name_of(summary.small.unit));
    const std::string small = stratum_chart(corrected, 0, "Lesions of at most " + bound);
    const std::string large = stratum_chart(corrected, 1, "Lesions above " + bound);
    write_text(out / "experiments.json", summary_json(summary, corrected, paper));
    write_text(out / "froc.svg", all);
    write_text(out / "froc_small.svg", small);
    write_text(out / "froc_large.svg", large);
    write_text(out / "experiments.html",
               html_page("iwseg: experiments", "<h1>Experiments</h1><section><h2>Results</h2>" +
                                                   html_table(results_of(summary, out)) + "<p class=\"note\">" +
                                                   escape_html(notes(summary)) +
                                                   "</p></section><section><h2>Which lesions are found</h2>"
                                                   "<div class=\"charts\">" +
                                                   figure(all) + figure(small) + figure(large) + "</div></section>"));
    fmt::print("\n{}\n{}summary  {}\n", text_table(summary), notes(summary), (out / "experiments.html").string());
}

}  // namespace iwseg
