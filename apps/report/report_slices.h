#pragma once

#include <string>

#include "apps/report/report_data.h"

namespace iwseg {

/// The scans of the report as HTML: for each of at most `cases` scans, worst first, planes through what was missed or
/// wrongly found, the runs side by side, with the borders of target and prediction drawn over them. Reads the scans'
/// images one after the other.
std::string slices_section(const ReportData& data, std::size_t cases = 8);

}  // namespace iwseg
