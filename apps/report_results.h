#pragma once

#include <string>

#include "apps/report_data.h"

namespace iwseg {

/// The results as a table for a terminal: a line a measure, a column a run.
std::string results_text(const ReportData& data);

/// The same as HTML, the better values set off.
std::string results_table(const ReportData& data);

}  // namespace iwseg
