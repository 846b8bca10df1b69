#include "apps/evaluation/metrics_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace iwseg {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The scores of one case, of all lesions pooled or of one stratum. Those of whole scans only where `scan`.
std::vector<MetricValue> values_of(const CaseMetrics& metrics, const MetricOptions& options, const SizeRange& range,
                                   bool scan) {
    std::vector<MetricValue> values;
    const auto count = [](std::int64_t number) { return static_cast<double>(number); };
    if (metrics.panoptic) {
        const PanopticQuality quality = panoptic_quality(*metrics.panoptic, range);
        values.insert(values.end(), {{"panoptic", "true_positives", "", count(quality.true_positives), true},
                                     {"panoptic", "false_positives", "", count(quality.false_positives), true},
                                     {"panoptic", "false_negatives", "", count(quality.false_negatives), true},
                                     {"panoptic", "rq", "RQ", quality.recognition},
                                     {"panoptic", "sq", "SQ", quality.segmentation},
                                     {"panoptic", "pq", "PQ", quality.panoptic}});
    }
    if (metrics.brats) {
        const LesionwiseScore score = lesionwise_score(*metrics.brats, options.lesionwise, range);
        values.insert(values.end(), {{"brats", "true_positives", "", count(score.true_positives), true},
                                     {"brats", "false_positives", "", count(score.false_positives), true},
                                     {"brats", "false_negatives", "", count(score.false_negatives), true},
                                     {"brats", "dice", "BraTS Dice", score.dice},
                                     {"brats", "hd95", "BraTS HD95", score.hd95}});
    }
    if (metrics.picai) {
        const PicaiScore score = picai_score(*metrics.picai, range);
        values.insert(values.end(), {{"picai", "true_positives", "PI-CAI hits", count(score.true_positives), true},
                                     {"picai", "false_positives", "FP", count(score.false_positives), true},
                                     {"picai", "false_negatives", "missed", count(score.false_negatives), true},
                                     {"picai", "average_precision", "AP", score.average_precision}});
    }
    if (!scan) return values;
    values.insert(values.end(), metrics.scan.begin(), metrics.scan.end());
    return values;
}

Json number_json(const MetricValue& value) {
    if (!std::isfinite(value.value)) return nullptr;
    if (value.is_count) return static_cast<std::int64_t>(value.value);
    return value.value;
}

Json values_json(const std::vector<MetricValue>& values) {
    Json object = Json::object();
    for (const MetricValue& value : values) object[value.metric][value.key] = number_json(value);
    return object;
}

/// Of all cases together, as if they were one scan.
CaseMetrics pooled(const MetricsReport& report) {
    CaseMetrics all;
    if (report.options.panoptic) all.panoptic.emplace();
    if (report.options.brats) all.brats.emplace();
    if (report.options.picai) all.picai.emplace();
    for (const NamedMetrics& one : report.cases) {
        if (all.panoptic) all.panoptic->append(*one.metrics.panoptic);
        if (all.brats) all.brats->append(*one.metrics.brats);
        if (all.picai) all.picai->append(*one.metrics.picai);
    }
    return all;
}

/// The mean of each value over the cases that have one, NaN without any; and over how many cases it is.
struct Means {
    std::vector<MetricValue> values;
    std::vector<std::int64_t> cases;
};

/// Of rows of the same values.
Means means_of_rows(const std::vector<std::vector<MetricValue>>& rows) {
    Means means;
    for (const std::vector<MetricValue>& values : rows) {
        if (means.values.empty()) {
            means.values = values;
            for (MetricValue& value : means.values) value.value = 0;
            means.cases.assign(values.size(), 0);
        }
        for (std::size_t i = 0; i < values.size(); ++i)
            if (std::isfinite(values[i].value)) {
                means.values[i].value += values[i].value;
                ++means.cases[i];
            }
    }
    for (std::size_t i = 0; i < means.values.size(); ++i) {
        means.values[i].value /= static_cast<double>(means.cases[i]);  // 0 / 0 is NaN, as wanted
        means.values[i].is_count = false;
    }
    return means;
}

Means means_of(const MetricsReport& report) {
    std::vector<std::vector<MetricValue>> rows;
    for (const NamedMetrics& one : report.cases) rows.push_back(values_of(one.metrics, report.options, {}, true));
    return means_of_rows(rows);
}

/// The values that have a column, each right-aligned under its name.
std::string row_text(const std::vector<MetricValue>& values) {
    std::string text;
    for (const MetricValue& value : values) {
        const std::string column = value.column;
        if (column.empty()) continue;
        const std::string cell = std::isnan(value.value)   ? "-"
                                 : std::isinf(value.value) ? "inf"
                                 : value.is_count          ? fmt::format("{}", value.value)
                                                           : fmt::format("{:.3f}", value.value);
        text += fmt::format("  {:>{}}", cell, std::max<std::size_t>(column.size(), 7));
    }
    return text + "\n";
}

std::string header_text(const std::vector<MetricValue>& values) {
    std::string text;
    for (const MetricValue& value : values) {
        const std::string column = value.column;
        if (!column.empty()) text += fmt::format("  {:>{}}", column, std::max<std::size_t>(column.size(), 7));
    }
    return text + "\n";
}

std::string range_name(const SizeRange& range) {
    if (range.up_to == kInfinity)
        return range.above == -kInfinity ? "any size" : fmt::format("above {:.1f}", range.above);
    if (range.above == -kInfinity) return fmt::format("to {:.1f}", range.up_to);
    return fmt::format("{:.1f} to {:.1f}", range.above, range.up_to);
}

Json bound_json(double bound) {
    return std::isfinite(bound) ? Json(bound) : Json(nullptr);
}

Json options_json(const MetricOptions& options) {
    const LesionwiseOptions& lesionwise = options.lesionwise;
    Json written = {{"brats_dilation", lesionwise.dilation},
                    {"brats_volume_mm3", lesionwise.volume},
                    {"brats_missed_hd95_mm", lesionwise.missed_hd95},
                    {"panoptic_iou", 0.5},
                    {"picai_iou", 0.1},
                    {"size_unit", name_of(options.size_unit)}};
    for (const ScanMetric& metric : scan_metrics())
        if (metric.option) written[metric.option->key] = options.option_of(metric);
    return written;
}

/// Adds "cases", "all" and "by_size".
void add_results(const MetricsReport& report, Json& document) {
    document["cases"] = Json::object();
    for (const NamedMetrics& one : report.cases)
        document["cases"][one.name] = values_json(values_of(one.metrics, report.options, {}, true));
    const Means means = means_of(report);
    document["all"] = Json::object();
    for (std::size_t i = 0; i < means.values.size(); ++i) {
        const MetricValue& value = means.values[i];
        document["all"][value.metric]["mean"][value.key] = number_json(value);
        document["all"][value.metric]["cases"][value.key] = means.cases[i];
    }
    const CaseMetrics all = pooled(report);
    for (const MetricValue& value : values_of(all, report.options, {}, false))
        document["all"][value.metric]["pooled"][value.key] = number_json(value);
    document["by_size"] = Json::array();
    for (const SizeRange& range : report.strata) {
        Json stratum{{"diameter_above", bound_json(range.above)}, {"diameter_up_to", bound_json(range.up_to)}};
        stratum.update(values_json(values_of(all, report.options, range, false)));
        document["by_size"].push_back(std::move(stratum));
    }
}

/// The means of each class, and over them.
std::vector<std::vector<MetricValue>> rows_of(const std::vector<ClassMetrics>& classes) {
    std::vector<std::vector<MetricValue>> rows;
    for (const ClassMetrics& one : classes) rows.push_back(means_of(*one.metrics).values);
    return rows;
}

/// Under each name of `rows`, the values that have a column.
std::string table_of(const char* heading, const std::vector<std::pair<std::string, std::vector<MetricValue>>>& rows) {
    std::size_t width = std::string(heading).size();
    for (const auto& [name, values] : rows) width = std::max(width, name.size());
    std::string table = fmt::format("\n{:<{}}{}", heading, width, header_text(rows.front().second));
    for (const auto& [name, values] : rows) table += fmt::format("{:<{}}{}", name, width, row_text(values));
    return table;
}

}  // namespace

std::string metrics_json(const MetricsReport& report) {
    Json document;
    document["options"] = options_json(report.options);
    add_results(report, document);
    return document.dump(1) + "\n";
}

std::string class_metrics_json(const std::vector<ClassMetrics>& classes) {
    Json document;
    document["options"] = options_json(classes.front().metrics->options);
    document["classes"] = Json::object();
    for (const ClassMetrics& one : classes) {
        Json& written = document["classes"][one.of.name];
        written["values"] = one.of.values;
        add_results(*one.metrics, written);
    }
    const Means means = means_of_rows(rows_of(classes));
    document["mean"] = values_json(means.values);
    document["mean_of"] = Json::object();
    for (std::size_t i = 0; i < means.values.size(); ++i)
        document["mean_of"][means.values[i].metric][means.values[i].key] = means.cases[i];
    return document.dump(1) + "\n";
}

std::string class_metrics_table(const std::vector<ClassMetrics>& classes) {
    const std::vector<std::vector<MetricValue>> rows = rows_of(classes);
    std::vector<std::pair<std::string, std::vector<MetricValue>>> named;
    for (std::size_t k = 0; k < classes.size(); ++k) named.emplace_back(classes[k].of.name, rows[k]);
    named.emplace_back("mean of classes", means_of_rows(rows).values);
    return table_of("class", named);
}

std::string metrics_table(const MetricsReport& report) {
    if (report.cases.empty()) return "";
    std::vector<std::pair<std::string, std::vector<MetricValue>>> rows;
    for (const NamedMetrics& one : report.cases)
        rows.emplace_back(one.name, values_of(one.metrics, report.options, {}, true));
    rows.emplace_back("mean of scans", means_of(report).values);
    const CaseMetrics all = pooled(report);
    if (all.panoptic || all.brats || all.picai) {
        rows.emplace_back("lesions pooled", values_of(all, report.options, {}, false));
        for (const SizeRange& range : report.strata)
            rows.emplace_back("  " + range_name(range), values_of(all, report.options, range, false));
    }
    return table_of("case", rows) +
           fmt::format(
               "Sizes are diameters in {}, distances mm; inf and - are left out of means\n(docs/evaluation.md).\n",
               name_of(report.options.size_unit));
}

}  // namespace iwseg
