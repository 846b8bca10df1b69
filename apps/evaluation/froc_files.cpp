#include "apps/evaluation/froc_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/chart/froc_chart.h"
#include "apps/evaluation/froc_json.h"

namespace iwseg {
namespace {

using Json = nlohmann::ordered_json;

Json stratum_json(const Froc& froc, const SizeStratum& stratum) {
    const Estimate at = recall_at(froc, stratum.curve, kComparisonRate);
    return {{"diameter_low", stratum.diameter_low},
            {"diameter_high", stratum.diameter_high},
            {"lesions", stratum.lesions},
            {"found", stratum.found},
            {"recall", stratum.recall.value},
            {"recall_interval", interval_json(stratum.recall)},
            {"recall_at_1_fp", finite_json(at.value)},
            {"recall_at_1_fp_interval", interval_json(at)},
            {"curve", curve_json(stratum.curve)}};
}

Json froc_object(const NamedFroc& named, FrocProtocol protocol) {
    const Froc& froc = named.froc;
    Json object{{"protocol", protocol == FrocProtocol::paper ? "paper" : "corrected"},
                {"scans", froc.scans},
                {"records", froc.records},
                {"lesions", froc.lesions},
                {"object_dice", froc.object_dice.value},
                {"object_dice_std", froc.object_dice.deviation},
                {"avg_recall", froc.average_recall.value},
                {"avg_recall_std", finite_json(froc.average_recall.deviation)},
                {"luna_score", froc.luna_score.value},
                {"luna_score_std", finite_json(froc.luna_score.deviation)},
                {"full_set_avg_recall", froc.whole_set_average_recall},
                {"fp_per_scan_at_lowest", froc.all_false_positives},
                {"recall_at_lowest", froc.all_recall},
                {"volume_ratio", finite_json(froc.volume_ratio)},
                {"missing_scans", named.missing_scans},
                {"scans_with_other_lesions", named.other_lesions}};
    if (protocol == FrocProtocol::corrected) {
        object["object_dice_interval"] = interval_json(froc.object_dice);
        object["avg_recall_interval"] = interval_json(froc.average_recall);
        object["luna_score_interval"] = interval_json(froc.luna_score);
    }
    for (std::size_t i = 0; i < kLunaRates.size(); ++i)
        object["sensitivity"].push_back({{"fp_per_scan", kLunaRates[i]},
                                         {"recall", froc.sensitivity[i].value},
                                         {"low", finite_json(froc.sensitivity[i].low)},
                                         {"high", finite_json(froc.sensitivity[i].high)}});
    object["curve"] = curve_json(froc.curve);
    object["curve"]["fp_per_scan"] = froc.false_positives;
    object["size_unit"] = name_of(froc.size_unit);
    object["by_size"] = Json::array();
    for (const SizeStratum& stratum : froc.strata) object["by_size"].push_back(stratum_json(froc, stratum));
    return object;
}

std::string chart_of(const std::vector<Curve>& curves, const std::string& title) {
    ChartOptions axes = froc_axes(title);
    axes.width = 720;
    axes.height = 460;
    return line_chart(curves, axes);
}

std::string with_deviation(const Estimate& estimate) {
    return fmt::format("{:.4f} +- {:.4f}", estimate.value, estimate.deviation);
}

std::string counts_table(const std::vector<NamedFroc>& frocs, std::size_t width) {
    std::string table = fmt::format("{:<{}}  scans  lesions  FP/scan  volume\n", "name", width);
    for (const auto& named : frocs)
        table +=
            fmt::format("{:<{}}  {:>5}  {:>7}  {:>7.2f}  {:>6}\n", named.name, width, named.froc.scans,
                        named.froc.lesions, named.froc.all_false_positives, volume_ratio_text(named.froc.volume_ratio));
    return table;
}

std::string scores_table(const std::vector<NamedFroc>& frocs, std::size_t width, FrocProtocol protocol) {
    const bool paper = protocol == FrocProtocol::paper;
    const auto text = [&](const Estimate& estimate) {
        return paper ? with_deviation(estimate) : with_interval(estimate);
    };
    std::string table = fmt::format(
        "{:<{}}  {:<20}  {:<20}  {}\n", "name", width, paper ? "object Dice +- std" : "object Dice [95 %]",
        paper ? "avg. recall +- std" : "avg. recall [95 %]", paper ? "LUNA score +- std" : "LUNA score [95 %]");
    for (const auto& named : frocs)
        table += fmt::format("{:<{}}  {:<20}  {:<20}  {}\n", named.name, width, text(named.froc.object_dice),
                             text(named.froc.average_recall), text(named.froc.luna_score));
    return table;
}

std::string recall_table(const std::vector<NamedFroc>& frocs, std::size_t width) {
    std::string table = fmt::format("{:<{}}  recall at false positives a scan of\n{:<{}}", "", width, "name", width);
    for (const double rate : kLunaRates) table += fmt::format("  {:>5g}", rate);
    table += "    any\n";
    for (const auto& named : frocs) {
        table += fmt::format("{:<{}}", named.name, width);
        for (const Estimate& at : named.froc.sensitivity) table += fmt::format("  {:>5.3f}", at.value);
        table += fmt::format("  {:>5.3f}\n", named.froc.all_recall);
    }
    return table;
}

std::string sizes_table(const std::vector<NamedFroc>& frocs, std::size_t width) {
    std::string table = fmt::format("{:<{}}  by diameter in {}: recall at {:g} false positive a scan; found at any\n",
                                    "name", width, name_of(frocs.front().froc.size_unit), kComparisonRate);
    for (const auto& named : frocs) {
        table += fmt::format("{:<{}}", named.name, width);
        for (const SizeStratum& stratum : named.froc.strata)
            table += fmt::format("  {:.1f}-{:.1f}: {:.3f}; {} of {}", stratum.diameter_low, stratum.diameter_high,
                                 recall_at(named.froc, stratum.curve, kComparisonRate).value, stratum.found,
                                 stratum.lesions);
        table += "\n";
    }
    return table;
}

}  // namespace

std::string with_interval(const Estimate& estimate) {
    if (!estimate.has_interval()) return fmt::format("{:.3f}", estimate.value);
    return fmt::format("{:.3f} [{:.3f}, {:.3f}]", estimate.value, estimate.low, estimate.high);
}

std::string froc_json(const std::vector<NamedFroc>& frocs, FrocProtocol protocol) {
    Json document = Json::object();
    for (const NamedFroc& named : frocs) document[named.name] = froc_object(named, protocol);
    return document.dump(1) + "\n";
}

std::string froc_chart(const std::vector<NamedFroc>& frocs, const std::string& title) {
    std::vector<Curve> curves;
    for (const NamedFroc& named : frocs) curves.push_back(froc_line(named.name, named.froc, named.froc.curve));
    return chart_of(curves, title);
}

std::string stratum_chart(const std::vector<NamedFroc>& frocs, std::size_t stratum, const std::string& title) {
    std::vector<Curve> curves;
    for (const NamedFroc& named : frocs)
        if (stratum < named.froc.strata.size())
            curves.push_back(froc_line(named.name, named.froc, named.froc.strata[stratum].curve));
    return chart_of(curves, title);
}

std::string froc_table(const std::vector<NamedFroc>& frocs, FrocProtocol protocol) {
    std::size_t width = 4;
    for (const NamedFroc& named : frocs) width = std::max(width, named.name.size());
    std::string table =
        counts_table(frocs, width) + "\n" + scores_table(frocs, width, protocol) + "\n" + recall_table(frocs, width);
    if (!frocs.empty() && !frocs.front().froc.strata.empty()) table += "\n" + sizes_table(frocs, width);
    table += fmt::format("\nVolume is predicted over true; above {:g} lesions are met by covering the scan.\n",
                         kLargestSensibleVolumeRatio);
    const auto single = [](const NamedFroc& named) { return !named.froc.average_recall.has_interval(); };
    if (std::any_of(frocs.begin(), frocs.end(), single))
        table += "One scan: there is nothing to draw from, and no interval.\n";
    return table;
}

}  // namespace iwseg
