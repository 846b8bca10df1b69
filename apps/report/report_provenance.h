#pragma once

#include <string>

#include "apps/report/report_data.h"

namespace iwseg {

/// How each run was made: dates, version, device, time, memory, dataset, split and threshold, one column a run; then
/// the configurations, whole, after the keys in which the runs differ.
std::string provenance_section(const ReportData& data);

}  // namespace iwseg
