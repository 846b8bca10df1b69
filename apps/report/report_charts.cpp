#include "apps/report/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/chart/froc_chart.h"
#include "apps/report/report_page.h"
#include "apps/training/training_run.h"
#include "base/extent.h"
#include "kernels/components/inverse_weights.h"
#include "losses/loss.h"

namespace iwseg {
namespace {

Curve froc_curve(const ReportData& data, const ReportRun& run, const FrocCurve& curve) {
    Curve shown = froc_line(run.name, run.froc, curve);
    shown.colour = colour_of(data, run);
    return shown;
}

std::string froc_chart(const std::string& title, const std::vector<Curve>& curves) {
    ChartOptions options = froc_axes(title);
    const ChartOptions size = chart_options("", "", "");
    options.width = size.width;
    options.height = size.height;
    return chart_card(line_chart(curves, options));
}

std::string size_name(const SizeStratum& stratum) {
    return fmt::format("{:.1f}–{:.1f}", stratum.diameter_low, stratum.diameter_high);
}

/// Bars need the same groups in every run: those of the first, whose lesions are the same unless labels differ.
std::string recall_by_size_chart(const ReportData& data) {
    std::vector<std::string> groups;
    for (const SizeStratum& stratum : data.runs.front().groups)
        groups.push_back(fmt::format("{} ({})", size_name(stratum), stratum.lesions));
    std::vector<BarSeries> series;
    for (const ReportRun& run : data.runs) {
        BarSeries bars{run.name, {}, {}, {}, colour_of(data, run)};
        for (std::size_t g = 0; g < groups.size() && g < run.groups.size(); ++g) {
            const Estimate at = recall_at(run.froc, run.groups[g].curve, kComparisonRate);
            bars.values.push_back(at.value);
            bars.low.push_back(at.low);
            bars.high.push_back(at.high);
        }
        if (bars.values.size() == groups.size()) series.push_back(bars);
    }
    ChartOptions options =
        chart_options(fmt::format("Lesions found at {:g} false positive a scan, by size", kComparisonRate),
                      fmt::format("diameter in {} (number of lesions)", name_of(data.runs.front().froc.size_unit)),
                      "lesions found (share)");
    options.y_max = 1;
    return chart_card(bar_chart(groups, series, options));
}

bool is_weighted(const ReportRun& run) {
    return loss_from_name(run.config.loss).weighted();
}

/// The same as numbers: recall at LUNA16's rates, a row a run.
std::string froc_table(const ReportData& data) {
    HtmlTable table{{"false positives a scan"}, {}, "Share of all lesions found"};
    for (const double rate : kLunaRates) table.headings.push_back(fmt::format("{:g}", rate));
    for (std::size_t r = 0; r < data.runs.size(); ++r) {
        HtmlRow row{run_mark(data.runs[r].name, r), {}};
        for (const Estimate& at : data.runs[r].froc.sensitivity) row.cells.push_back({estimate_text(at)});
        table.rows.push_back(std::move(row));
    }
    return html_table(table);
}

std::string size_table(const ReportData& data) {
    HtmlTable table{{fmt::format("diameter, {}", name_of(data.runs.front().froc.size_unit)), "lesions"},
                    {},
                    fmt::format("Share found at {:g} false positive a scan, by size", kComparisonRate)};
    for (std::size_t r = 0; r < data.runs.size(); ++r) table.headings.push_back(run_mark(data.runs[r].name, r));
    const std::vector<SizeStratum>& groups = data.runs.front().groups;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        HtmlRow row{size_name(groups[g]), {{fmt::format("{}", groups[g].lesions)}}};
        for (const ReportRun& run : data.runs)
            row.cells.push_back({g < run.groups.size() && run.groups.size() == groups.size()
                                     ? estimate_text(recall_at(run.froc, run.groups[g].curve, kComparisonRate))
                                     : "-"});
        table.rows.push_back(std::move(row));
    }
    return html_table(table);
}

/// Components as training finds them in the whole scan; the report's are those of evaluation.
ComponentList lesions_of_training(const ReportCase& scan, int connectivity) {
    if (scan.lesions.connectivity == connectivity) return scan.lesions;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(scan.geometry.voxels()));
    for (const std::uint32_t voxel : scan.lesions.voxels) mask[voxel] = 1;
    return list_components(mask, scan.geometry.shape, connectivity);
}

/// The labels that a lesion's voxels have in a patch.
std::set<std::int32_t> labels_at(const ComponentList& lesions, std::int64_t lesion, const Extent& shape,
                                 const Extent& first, const Extent& patch, const std::vector<std::int32_t>& labels) {
    std::set<std::int32_t> found;
    for (std::int64_t v = lesions.offsets[lesion]; v < lesions.offsets[lesion + 1]; ++v) {
        const std::int64_t voxel = lesions.voxels[v];
        const std::int64_t d = voxel / (shape[1] * shape[2]) - first[0], h = voxel / shape[2] % shape[1] - first[1],
                           w = voxel % shape[2] - first[2];
        if (d < 0 || h < 0 || w < 0 || d >= patch[0] || h >= patch[1] || w >= patch[2]) continue;
        found.insert(labels[(d * patch[1] + h) * patch[2] + w]);
    }
    return found;
}

}  // namespace

ChartOptions chart_options(const std::string& title, const std::string& x_label, const std::string& y_label) {
    ChartOptions options{title, x_label, y_label};
    options.width = 440;
    options.height = 320;
    return options;
}

std::string chart_card(const std::string& svg) {
    return "<div class=\"chart\">" + svg + "</div>";
}

int colour_of(const ReportData& data, const ReportRun& run) {
    return static_cast<int>(&run - data.runs.data());
}

std::string estimate_text(const Estimate& estimate) {
    if (!estimate.has_interval()) return fmt::format("{:.3f}", estimate.value);
    return fmt::format("{:.3f} ({:.2f}–{:.2f})", estimate.value, estimate.low, estimate.high);
}

std::vector<LesionWeight> lesion_weights(const ReportCase& scan, const Config& config) {
    const auto& shape = scan.geometry.shape;
    const SamplingOptions options = sampling_options(config);
    const ComponentList lesions = lesions_of_training(scan, config.connectivity);
    const auto& patch = options.patch;
    std::vector<std::int32_t> labels(static_cast<std::size_t>(patch[0] * patch[1] * patch[2]));
    std::vector<std::uint8_t> target(labels.size());
    std::vector<LesionWeight> weights;
    for (std::int64_t lesion = 0; lesion < lesions.size(); ++lesion) {
        const ComponentList::Box& centre = lesions.boxes[lesion];
        PatchPlace place;
        for (unsigned axis = 0; axis < 3; ++axis)
            place.first[axis] = (centre.first[axis] + centre.last[axis]) / 2 - patch[axis] / 2;
        const std::int64_t stride = label_patch(lesions, shape, place, options, target.data(), labels.data()) + 1;
        std::vector<float> table(static_cast<std::size_t>(stride));
        cpu::inverse_weight_table({}, {labels.data(), {1, 1, patch[0], patch[1], patch[2]}, Type::i32}, table.data(),
                                  stride, options.weight_clip);
        std::vector<std::int64_t> sizes(table.size());
        for (const std::int32_t label : labels) ++sizes[label];
        for (const std::int32_t label : labels_at(lesions, lesion, shape, place.first, patch, labels))
            weights.push_back({static_cast<double>(sizes[label]), static_cast<double>(table[label])});
    }
    return weights;
}

std::string recall_section(const ReportData& data) {
    std::vector<Curve> all, small, large;
    for (const ReportRun& run : data.runs) {
        all.push_back(froc_curve(data, run, run.froc.curve));
        if (run.froc.strata.size() < 2) continue;
        small.push_back(froc_curve(data, run, run.froc.strata.front().curve));
        large.push_back(froc_curve(data, run, run.froc.strata.back().curve));
    }
    std::string html = "<div class=\"charts\">" + recall_by_size_chart(data) + froc_chart("All lesions", all);
    if (!small.empty()) {
        const auto& strata = data.runs.front().froc.strata;
        const char* unit = name_of(data.runs.front().froc.size_unit);
        html +=
            froc_chart(fmt::format("Smaller half: up to {:.1f} {} wide", strata.front().diameter_high, unit), small);
        html += froc_chart(fmt::format("Larger half: {:.1f} {} and more", strata.back().diameter_low, unit), large);
    }
    return html + "</div>" + size_table(data) + froc_table(data);
}

std::string weights_section(const ReportData& data) {
    constexpr std::size_t enough_scans = 12;
    const auto weighted = std::find_if(data.runs.begin(), data.runs.end(), is_weighted);
    const ReportRun& shown = weighted == data.runs.end() ? data.runs.front() : *weighted;
    Curve with{weighted == data.runs.end() ? "if it were weighted" : shown.name + ": inverse weights", {}, {}, {}, {}};
    with.points_only = true;
    with.colour = colour_of(data, shown);
    Curve total{"the whole lesion: weight × voxels", {}, {}, {}, {}};
    total.points_only = true;
    total.colour = with.colour;
    for (std::size_t s = 0; s < data.cases.size() && s < enough_scans; ++s)
        for (const auto& [voxels, weight] : lesion_weights(data.cases[s], shown.config)) {
            with.x.push_back(voxels), with.y.push_back(weight);
            total.x.push_back(voxels), total.y.push_back(weight * voxels);
        }
    if (with.x.empty()) return "<p>There is no lesion.</p>";
    const auto [least, most] = std::minmax_element(with.x.begin(), with.x.end());
    constexpr int grey = 6;
    const Curve without{"without weights: 1 everywhere", {*least, *most}, {1, 1}, {}, {}, false, grey};
    ChartOptions options = chart_options("Weight of one voxel of a lesion", "lesion's voxels in the patch", "weight");
    options.log_x = options.log_y = true;
    std::string html = "<div class=\"charts\">" + chart_card(line_chart({with, without}, options));
    options.title = "Weight of a whole lesion";
    options.y_label = "weight × voxels";
    const Curve size{"without weights: its voxels", {*least, *most}, {*least, *most}, {}, {}, false, grey};
    return html + chart_card(line_chart({total, size}, options)) + "</div>";
}

}  // namespace iwseg
