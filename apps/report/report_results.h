#pragma once

#include <string>

#include "apps/report/report_data.h"

namespace iwseg {

/// Where runs were not evaluated on the same scans and lesions, what differs, in sentences: then their results cannot
/// be compared.
std::string scan_differences(const ReportData& data);

/// "Masks are made by probability > 0.35 (iwdl); probability > 0.5 (plain).", plain text: the rule of each run's test
/// scans, once where it is the same.
std::string masks_sentence(const ReportData& data);

/// The results as a table for a terminal: a line a measure, a column a run. Where masks are not made at 0.5, lines say
/// whether they are of the records, whose detections are those of probability > 0.5, or of the masks.
std::string results_text(const ReportData& data);

/// The same as HTML, the better values set off.
std::string results_table(const ReportData& data);

}  // namespace iwseg
