#pragma once

#include <string>
#include <vector>

#include "apps/chart/chart.h"
#include "apps/report/report_data.h"

namespace iwseg {

/// Small enough to be read on a phone, where a wider chart's text would shrink.
ChartOptions chart_options(const std::string& title, const std::string& x_label, const std::string& y_label);
std::string chart_card(const std::string& svg);
/// A run has one colour in every chart, table and picture: that of its place in the report.
int colour_of(const ReportData& data, const ReportRun& run);
/// "0.677 (0.59–0.76)", the bounds of its 95 % interval where there is one.
std::string estimate_text(const Estimate& estimate);

/// A lesion's size and the weight of each of its voxels.
struct LesionWeight {
    double voxels = 0, weight = 0;
};
/// What a weighted loss gives the lesions in patches of the configuration's size centred on them; size and weight are
/// those of the component inside the patch, as training finds it (keys components and connectivity): where these cut a
/// lesion into several, there is one of each.
std::vector<LesionWeight> lesion_weights(const ReportCase& scan, const Config& config);

/// Parts of the page as HTML.
std::string recall_section(const ReportData& data);
std::string weights_section(const ReportData& data);

}  // namespace iwseg
