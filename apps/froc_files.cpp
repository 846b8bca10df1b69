#include "apps/froc_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/chart.h"

namespace iwseg {
namespace {

using Json = nlohmann::ordered_json;

Json interval_of(const Estimate& estimate) { return Json::array({estimate.low, estimate.high}); }

Json curve_json(const FrocCurve& curve) { return {{"recall", curve.recall}, {"low", curve.low}, {"high", curve.high}}; }

Json stratum_json(const SizeStratum& stratum) {
    return {{"diameter_low", stratum.diameter_low},
            {"diameter_high", stratum.diameter_high},
            {"lesions", stratum.lesions},
            {"found", stratum.found},
            {"recall", stratum.recall.value},
            {"recall_interval", interval_of(stratum.recall)},
            {"curve", curve_json(stratum.curve)}};
}

Json froc_object(const Froc& froc, FrocProtocol protocol) {
    Json object{{"protocol", protocol == FrocProtocol::paper ? "paper" : "corrected"},
                {"scans", froc.scans},
                {"records", froc.records},
                {"lesions", froc.lesions},
                {"object_dice", froc.object_dice.value},
                {"object_dice_std", froc.object_dice.deviation},
                {"avg_recall", froc.average_recall.value},
                {"avg_recall_std", froc.average_recall.deviation},
                {"luna_score", froc.luna_score.value},
                {"luna_score_std", froc.luna_score.deviation},
                {"full_set_avg_recall", froc.whole_set_average_recall},
                {"fp_per_scan_at_lowest", froc.all_false_positives},
                {"recall_at_lowest", froc.all_recall}};
    if (protocol == FrocProtocol::corrected) {
        object["object_dice_interval"] = interval_of(froc.object_dice);
        object["avg_recall_interval"] = interval_of(froc.average_recall);
        object["luna_score_interval"] = interval_of(froc.luna_score);
    }
    for (std::size_t i = 0; i < luna_rates.size(); ++i)
        object["sensitivity"].push_back({{"fp_per_scan", luna_rates[i]},
                                         {"recall", froc.sensitivity[i].value},
                                         {"low", froc.sensitivity[i].low},
                                         {"high", froc.sensitivity[i].high}});
    object["curve"] = curve_json(froc.curve);
    object["curve"]["fp_per_scan"] = froc.false_positives;
    object["by_size"] = Json::array();
    for (const SizeStratum& stratum : froc.strata) object["by_size"].push_back(stratum_json(stratum));
    return object;
}

/// A curve ends with its last detection: beyond, it would only be drawn on flat.
Curve curve_of(const NamedFroc& named, const FrocCurve& froc_curve) {
    const Froc& froc = named.froc;
    Curve curve{named.name, {}, {}, {}, {}};
    for (std::size_t i = 0; i < froc.false_positives.size(); ++i) {
        curve.x.push_back(froc.false_positives[i]);
        curve.y.push_back(froc_curve.recall[i]);
        curve.low.push_back(froc_curve.low[i]);
        curve.high.push_back(froc_curve.high[i]);
        if (froc.false_positives[i] >= froc.all_false_positives) break;
    }
    return curve;
}

std::string chart_of(const std::vector<Curve>& curves, const std::string& title) {
    double most = 0.5;
    for (const Curve& curve : curves)
        if (!curve.x.empty()) most = std::max(most, curve.x.back());
    return line_chart(curves, {.title = title,
                               .x_label = "false positives a scan",
                               .y_label = "recall",
                               .x_max = most,
                               .y_max = 1,
                               .width = 720,
                               .height = 460});
}

std::string with_interval(const Estimate& estimate) {
    return fmt::format("{:.3f} [{:.3f}, {:.3f}]", estimate.value, estimate.low, estimate.high);
}

std::string with_deviation(const Estimate& estimate) {
    return fmt::format("{:.4f} +- {:.4f}", estimate.value, estimate.deviation);
}

}  // namespace

std::string froc_json(const std::vector<NamedFroc>& frocs, FrocProtocol protocol) {
    Json document = Json::object();
    for (const NamedFroc& named : frocs) document[named.name] = froc_object(named.froc, protocol);
    return document.dump(1) + "\n";
}

std::string froc_chart(const std::vector<NamedFroc>& frocs, const std::string& title) {
    std::vector<Curve> curves;
    for (const NamedFroc& named : frocs) curves.push_back(curve_of(named, named.froc.curve));
    return chart_of(curves, title);
}

std::string stratum_chart(const std::vector<NamedFroc>& frocs, std::size_t stratum, const std::string& title) {
    std::vector<Curve> curves;
    for (const NamedFroc& named : frocs)
        if (stratum < named.froc.strata.size()) curves.push_back(curve_of(named, named.froc.strata[stratum].curve));
    return chart_of(curves, title);
}

std::string froc_table(const std::vector<NamedFroc>& frocs, FrocProtocol protocol) {
    const bool paper = protocol == FrocProtocol::paper;
    std::size_t width = 4;
    for (const NamedFroc& named : frocs) width = std::max(width, named.name.size());
    std::string table = fmt::format("{:<{}}  scans  lesions  FP/scan  {:<22}  {:<22}  {}\n", "name", width,
                                    paper ? "object Dice +- std" : "object Dice [95 %]",
                                    paper ? "average recall +- std" : "average recall [95 %]",
                                    paper ? "LUNA score +- std" : "LUNA score [95 %]");
    for (const auto& [name, froc] : frocs) {
        const auto text = [&](const Estimate& estimate) {
            return paper ? with_deviation(estimate) : with_interval(estimate);
        };
        table += fmt::format("{:<{}}  {:>5}  {:>7}  {:>7.2f}  {:<22}  {:<22}  {}\n", name, width, froc.scans,
                             froc.lesions, froc.all_false_positives, text(froc.object_dice), text(froc.average_recall),
                             text(froc.luna_score));
    }
    table += fmt::format("\n{:<{}}  recall at false positives a scan of\n{:<{}}", "", width, "name", width);
    for (const double rate : luna_rates) table += fmt::format("  {:>5g}", rate);
    table += paper ? "    any\n" : "    any  by diameter in voxels\n";
    for (const auto& [name, froc] : frocs) {
        table += fmt::format("{:<{}}", name, width);
        for (const Estimate& at : froc.sensitivity) table += fmt::format("  {:>5.3f}", at.value);
        table += fmt::format("  {:>5.3f}", froc.all_recall);
        for (const SizeStratum& stratum : froc.strata)
            table += fmt::format("  {} of {} ({:.1f}-{:.1f})", stratum.found, stratum.lesions, stratum.diameter_low,
                                 stratum.diameter_high);
        table += "\n";
    }
    return table;
}

}  // namespace iwseg
