#include "apps/evaluation/candidate_run.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/chart/froc_chart.h"
#include "apps/evaluation/froc_json.h"
#include "base/atomic_file.h"
#include "base/folder.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Json entry_of(const CandidateFroc& froc, const CandidateMatches& matches) {
    Json entry{{"protocol", "luna16"},
               {"scans", froc.scans},
               {"lesions", froc.nodules},
               {"candidates", matches.candidates},
               {"found", matches.found},
               {"false_positives", matches.false_positives},
               {"missed", froc.nodules - matches.found},
               {"ignored_on_excluded", matches.on_excluded},
               {"ignored_repeated", matches.repeated},
               {"ignored_over_limit", matches.over_limit},
               {"ignored_elsewhere", matches.elsewhere},
               {"luna_score", froc.score.value},
               {"luna_score_std", froc.score.deviation},
               {"luna_score_interval", interval_json(froc.score)},
               {"fp_per_scan_at_lowest", froc.all_false_positives},
               {"recall_at_lowest", froc.all_recall}};
    for (std::size_t i = 0; i < kLunaRates.size(); ++i)
        entry["sensitivity"].push_back({{"fp_per_scan", kLunaRates[i]},
                                        {"recall", froc.sensitivity[i].value},
                                        {"low", froc.sensitivity[i].low},
                                        {"high", froc.sensitivity[i].high},
                                        {"bootstrap_mean", froc.bootstrap_mean[i]}});
    entry["curve"] = curve_json(froc.curve);
    entry["curve"]["fp_per_scan"] = froc.false_positives;
    return entry;
}

std::string chart_of(const std::string& name, const CandidateFroc& froc) {
    ChartOptions axes = froc_axes("Free-response operating characteristic");
    axes.y_label = "sensitivity";
    axes.width = 720;
    axes.height = 460;
    return line_chart({{name, froc.false_positives, froc.curve.recall, froc.curve.low, froc.curve.high}}, axes);
}

std::string table_of(const std::string& name, const CandidateFroc& froc, const CandidateMatches& matches) {
    std::string table = fmt::format(
        "{}: {} of {} nodules found in {} scans, {} false positives ({:.2f} a scan)\n"
        "ignored: {} candidates on excluded findings, {} more on a nodule that is found, {} over the limit of their "
        "scan, "
        "{} of scans that are not evaluated\n\nfalse positives a scan  sensitivity [95 %]\n",
        name, matches.found, froc.nodules, froc.scans, matches.false_positives, froc.all_false_positives,
        matches.on_excluded, matches.repeated, matches.over_limit, matches.elsewhere);
    const auto add = [&](const std::string& label, const Estimate& estimate) {
        const std::string interval =
            estimate.has_interval() ? fmt::format(" [{:.4f}, {:.4f}]", estimate.low, estimate.high) : "";
        table += fmt::format("{:>22}  {:.4f}{}\n", label, estimate.value, interval);
    };
    for (std::size_t i = 0; i < kLunaRates.size(); ++i) add(fmt::format("{:g}", kLunaRates[i]), froc.sensitivity[i]);
    add("mean (LUNA16 score)", froc.score);
    if (!froc.score.has_interval()) table += "One scan: there is nothing to draw from, and no interval.\n";
    return table;
}

}  // namespace

void add_candidate_options(CLI::App& command, CandidateArguments& arguments) {
    constexpr const char* group = "LUNA16's competition metric, from lists of points";
    CLI::Option* candidates =
        command.add_option("--candidates", arguments.candidates, "CSV: seriesuid, coordX, coordY, coordZ, probability")
            ->group(group);
    const auto add_list = [&](const char* name, fs::path& file, const char* text) {
        candidates->needs(command.add_option(name, file, text)->group(group)->needs(candidates));
    };
    add_list("--annotations", arguments.annotations, "CSV of nodules: seriesuid, coordX, coordY, coordZ, diameter_mm");
    add_list("--excluded", arguments.excluded, "the same of findings on which candidates are ignored");
    add_list("--seriesuids", arguments.scans, "scans to evaluate, one a line");
    command.add_option("--name", arguments.name, "name of the entry in froc.json (default: that of the file)")
        ->group(group)
        ->needs(candidates);
    command.add_option("--max-candidates", arguments.most, "candidates a scan, the most probable; 0: all")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str()
        ->group(group)
        ->needs(candidates);
}

void run_candidate_froc(const CandidateArguments& arguments, const fs::path& out) {
    const CandidateTruth truth{read_scan_names(arguments.scans), read_findings(arguments.annotations),
                               read_findings(arguments.excluded)};
    const CandidateMatches matches = match_candidates(read_candidates(arguments.candidates), truth, arguments.most);
    const CandidateFroc froc = compute_candidate_froc(matches, arguments.options);
    const std::string name = arguments.name.empty() ? arguments.candidates.stem().string() : arguments.name;
    make_folder(out);
    write_text(out / "froc.svg", chart_of(name, froc));
    write_text(out / "froc.json", Json{{name, entry_of(froc, matches)}}.dump(1) + "\n");
    fmt::print("{}", table_of(name, froc, matches));
}

}  // namespace iwseg
