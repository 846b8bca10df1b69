#pragma once

#include <string>

#include "apps/report/report_data.h"

namespace iwseg {

/// One row a scan and run, as RFC 4180 has it: case,run,lesions,found,false_positives,dice,target_ml,predicted_ml.
/// Scans as the report orders them; a scan without a predicted mask of a run has no row for it.
std::string cases_csv(const ReportData& data);

/// The same as a table, with the CSV as a link that needs no file beside the page.
std::string cases_section(const ReportData& data);

}  // namespace iwseg
