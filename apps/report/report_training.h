#pragma once

#include <string>

#include "apps/chart/chart.h"
#include "apps/report/report_data.h"

namespace iwseg {

/// The loss over the steps: the means of steps next to each other, at most `points`, with the band between their 10th
/// and 90th percentile.
Curve loss_curve(const ReportRun& run, int points = 100);

/// Loss, learning rate and what validation scans showed, as charts and as tables; empty where no run has a log.
std::string training_section(const ReportData& data);

}  // namespace iwseg
