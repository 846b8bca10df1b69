#include "apps/report/equal_rate.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/report/report_data.h"
#include "kernels/components/detection.h"

namespace iwseg {
namespace {

std::string found_text(const ReportRun& run, const Estimate& recall) {
    const auto lesions = static_cast<double>(run.froc.strata.front().lesions);
    const auto percent = [](double share) { return std::lround(100 * share); };
    std::string text = fmt::format("{} ({} %", std::lround(recall.value * lesions), percent(recall.value));
    if (recall.has_interval())
        text += fmt::format("; 95 % interval {} to {} %", percent(recall.low), percent(recall.high));
    return text + ")";
}

/// A FROC begins where detections do. Where that is below the rate, what lower probabilities would add is not known.
std::string truncated_text(const ReportRun& run) {
    if (run.froc.all_false_positives >= kComparisonRate) return "";
    return fmt::format(
        " {} raises {:.2f} false positives a scan in all, as detections begin at the probability {:g}: with a lower "
        "bar it may find more.",
        run.name, run.froc.all_false_positives, DetectionRule{}.threshold);
}

}  // namespace

std::string equal_rate_sentences(const ReportData& data, const std::string& what) {
    if (data.runs.size() != 2 || data.runs[0].froc.strata.size() < 2 || data.runs[1].froc.strata.size() < 2) return "";
    const ReportRun &plain = data.runs[0], &weighted = data.runs[1];
    const SizeStratum& small = plain.froc.strata.front();
    const Estimate a = recall_at(plain.froc, small.curve, kComparisonRate),
                   b = recall_at(weighted.froc, weighted.froc.strata.front().curve, kComparisonRate);
    const bool more = b.value > a.value, clear = more && a.has_interval() && b.has_interval() && b.low > a.high;
    const char* verdict = !more ? "does not find more small lesions here" : "finds more small lesions here";
    return fmt::format(
        "{} {} at {:g} false positive a scan{}: of {} lesions of at most {:.1f} {} in diameter, {} finds {}, {} finds "
        "{}, "
        "each at the threshold that lets through no more.{}{} Dice of scans is {:.2f} with {} and {:.2f} with {}.",
        what, verdict, kComparisonRate, more && !clear ? ", by what may be chance" : "", small.lesions,
        small.diameter_high, name_of(plain.froc.size_unit), weighted.name, found_text(weighted, b), plain.name,
        found_text(plain, a), truncated_text(plain), truncated_text(weighted), data.mean_dice(1), weighted.name,
        data.mean_dice(0), plain.name);
}

}  // namespace iwseg
