#pragma once

#include <string>
#include <vector>

#include "apps/chart.h"
#include "apps/report_data.h"

namespace iwseg {

/// The loss over the steps: the mean of at most `points` stretches, with the band between their 10th and 90th
/// percentile.
Curve loss_curve(const ReportRun& run, int points = 100);

/// A lesion's size and the weight of each of its voxels.
struct LesionWeight {
    double voxels = 0, weight = 0;
};
/// What a weighted loss gives the lesions in patches of the configuration's size centred on them; size and weight are
/// those inside the patch.
std::vector<LesionWeight> lesion_weights(const ReportCase& scan, const Config& config);

/// Parts of the page as HTML.
std::string recall_section(const ReportData& data);
std::string weights_section(const ReportData& data);
std::string training_section(const ReportData& data);

}  // namespace iwseg
