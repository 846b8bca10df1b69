#include "apps/experiments_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/froc_files.h"
#include "apps/report_page.h"
#include "engine/atomic_file.h"
#include "evaluation/froc.h"
#include "evaluation/metrics.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// One finished experiment by both protocols.
struct Finished {
    std::string name;
    Froc corrected, paper;
    LesionCounts counts;

    const SizeStratum* small() const { return corrected.strata.empty() ? nullptr : corrected.strata.data(); }
    const SizeStratum* large() const { return corrected.strata.size() < 2 ? nullptr : &corrected.strata[1]; }
};

struct Summary {
    std::vector<Finished> finished;
    std::vector<std::string> missing;
    double small_diameter = 0;  ///< voxels
};

/// Recall of one size, averaged over 0 to 5 false positives a scan as average_recall is.
double average_recall(const Froc& froc, const SizeStratum& stratum) {
    double sum = 0;
    int points = 0;
    for (std::size_t i = 0; i < froc.false_positives.size() && froc.false_positives[i] <= 5.0 + 1e-9; ++i, ++points)
        sum += stratum.curve.recall[i];
    return sum / points;
}

double bound_of_small(const std::vector<Experiment>& experiments, const std::vector<Records>& records) {
    if (const double given = experiments.front().config.small_diameter; given > 0) return given;
    std::vector<double> diameters;
    for (const Records& one : records) {
        const std::vector<double> own = lesion_diameters(one);
        diameters.insert(diameters.end(), own.begin(), own.end());
    }
    const std::vector<double> bounds = size_bounds(std::move(diameters), 2);
    return bounds.empty() ? 0 : bounds.front();
}

Summary summarise(const fs::path& out, const std::vector<Experiment>& experiments) {
    Summary summary;
    std::vector<Records> records;
    std::vector<std::string> names;
    for (const Experiment& experiment : experiments) {
        const fs::path file = out / experiment.name / "records.json";
        if (!fs::exists(file)) {
            summary.missing.push_back(experiment.name);
            continue;
        }
        records.push_back(read_records(file));
        names.push_back(experiment.name);
    }
    if (records.empty()) return summary;
    summary.small_diameter = bound_of_small(experiments, records);
    FrocOptions corrected, paper;
    corrected.stratum_bounds = {summary.small_diameter, std::numeric_limits<double>::infinity()};
    paper.protocol = FrocProtocol::paper;
    for (std::size_t i = 0; i < records.size(); ++i) {
        LesionCounts counts;
        for (const auto& [scan, list] : records[i]) counts += count_lesions(list, summary.small_diameter);
        summary.finished.push_back(
            {names[i], compute_froc(records[i], corrected), compute_froc(records[i], paper), counts});
    }
    return summary;
}

// ----------------------------------------------------------------------------------------------------------------------

struct Column {
    std::string heading;
    std::vector<std::string> cells;
};

std::vector<Column> columns(const Summary& summary) {
    const auto column = [&](const std::string& heading, auto&& cell) {
        Column filled{heading, {}};
        for (const Finished& one : summary.finished) filled.cells.push_back(cell(one));
        return filled;
    };
    const auto of_size = [](const Finished& one, const SizeStratum* stratum) {
        return stratum && stratum->lesions > 0 ? fmt::format("{:.3f}", average_recall(one.corrected, *stratum)) : "none there";
    };
    const auto interval = [](const Estimate& e) { return fmt::format("{:.3f} [{:.3f}, {:.3f}]", e.value, e.low, e.high); };
    return {column("experiment", [](const Finished& one) { return one.name; }),
            column("object Dice", [](const Finished& one) { return fmt::format("{:.2f}", one.paper.object_dice.value); }),
            column("average recall",
                   [](const Finished& one) { return fmt::format("{:.2f}", one.paper.average_recall.value); }),
            column("corrected [95 %]",
                   [&](const Finished& one) { return interval(one.corrected.average_recall); }),
            column("of small", [&](const Finished& one) { return of_size(one, one.small()); }),
            column("of large", [&](const Finished& one) { return of_size(one, one.large()); }),
            column("found",
                   [](const Finished& one) { return fmt::format("{} of {}", one.counts.found, one.counts.lesions); }),
            column("small found",
                   [](const Finished& one) {
                       return fmt::format("{} of {}", one.counts.small_found, one.counts.small_lesions);
                   }),
            column("FP a scan",
                   [](const Finished& one) { return fmt::format("{:.1f}", one.corrected.all_false_positives); })};
}

std::string notes(const Summary& summary) {
    std::string text = fmt::format(
        "Object Dice and average recall as published, then average recall by the corrected protocol, of all lesions and by "
        "size; small ones are at most {:.1f} voxels in diameter. One detection over half a scan hits every lesion in it: read "
        "average recall together with object Dice.\n",
        summary.small_diameter);
    if (!summary.missing.empty()) text += fmt::format("Not finished: {}\n", fmt::join(summary.missing, ", "));
    return text;
}

std::string text_table(const Summary& summary) {
    std::string text;
    const std::vector<Column> shown = columns(summary);
    const auto width = [](const Column& column) {
        return std::accumulate(column.cells.begin(), column.cells.end(), column.heading.size(),
                               [](std::size_t most, const std::string& cell) { return std::max(most, cell.size()); });
    };
    const auto add_row = [&](auto&& cell) {
        text += fmt::format("{:<{}}", cell(shown[0]), width(shown[0]));
        for (std::size_t c = 1; c < shown.size(); ++c) text += fmt::format("  {:>{}}", cell(shown[c]), width(shown[c]));
        text += "\n";
    };
    add_row([](const Column& column) { return column.heading; });
    for (std::size_t row = 0; row < summary.finished.size(); ++row)
        add_row([&](const Column& column) { return column.cells[row]; });
    return text;
}

std::string html_table(const Summary& summary) {
    const std::vector<Column> shown = columns(summary);
    std::string head, rows;
    for (const Column& column : shown) head += "<th>" + escape_html(column.heading) + "</th>";
    for (std::size_t row = 0; row < summary.finished.size(); ++row) {
        rows += "<tr>";
        for (const Column& column : shown) rows += "<td>" + escape_html(column.cells[row]) + "</td>";
        rows += "</tr>";
    }
    return "<div class=\"scroll\"><table><thead><tr>" + head + "</tr></thead><tbody>" + rows + "</tbody></table></div>";
}

// ----------------------------------------------------------------------------------------------------------------------

std::string summary_json(const Summary& summary, const std::vector<NamedFroc>& corrected,
                         const std::vector<NamedFroc>& paper) {
    nlohmann::ordered_json document{{"small_diameter", summary.small_diameter}, {"missing", summary.missing}};
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

std::string figure(const std::string& svg) { return "<div class=\"chart\">" + svg + "</div>"; }

}  // namespace

void write_summary(const fs::path& out, const std::vector<Experiment>& experiments) {
    const Summary summary = summarise(out, experiments);
    if (summary.finished.empty()) {
        fmt::print("\nno experiment is finished\n");
        return;
    }
    std::vector<NamedFroc> corrected, paper;
    for (const Finished& one : summary.finished) {
        corrected.push_back({one.name, one.corrected});
        paper.push_back({one.name, one.paper});
    }
    const std::string all = froc_chart(corrected, "All lesions");
    const std::string small =
        stratum_chart(corrected, 0, fmt::format("Lesions of at most {:.1f} voxels in diameter", summary.small_diameter));
    const std::string large =
        stratum_chart(corrected, 1, fmt::format("Lesions above {:.1f} voxels in diameter", summary.small_diameter));
    write_text(out / "experiments.json", summary_json(summary, corrected, paper));
    write_text(out / "froc.svg", all);
    write_text(out / "froc_small.svg", small);
    write_text(out / "froc_large.svg", large);
    write_text(out / "experiments.html",
               html_page("iwseg: experiments",
                         "<h1>Experiments</h1><section><h2>Results</h2>" + html_table(summary) + "<p class=\"note\">" +
                             escape_html(notes(summary)) + "</p></section><section><h2>Which lesions are found</h2>"
                             "<div class=\"charts\">" + figure(all) + figure(small) + figure(large) + "</div></section>"));
    fmt::print("\n{}\n{}summary  {}\n", text_table(summary), notes(summary), (out / "experiments.html").string());
}

}  // namespace iwseg
