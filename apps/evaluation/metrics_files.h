#pragma once

#include <string>
#include <vector>

#include "evaluation/case_metrics.h"

namespace iwseg {

struct NamedMetrics {
    std::string name;
    CaseMetrics metrics;
};

/// What was measured of every case, with which options, and the strata of lesion size (size_ranges).
struct MetricsReport {
    std::vector<NamedMetrics> cases;
    MetricOptions options;
    std::vector<SizeRange> strata;
};

/// {"options": {…}, "cases": {NAME: {METRIC: {…}}},
///  "all": {METRIC: {"mean": {…}, "cases": {…}, "pooled": {…}}}, "by_size": [{…}]}.
/// mean is over the cases that have a value (how many: cases), pooled counts all lesions as of one scan; what has no
/// value is null.
std::string metrics_json(const MetricsReport& report);
/// One line a case, one for the mean over cases and one for all lesions pooled, one a stratum; for a terminal.
std::string metrics_table(const MetricsReport& report);

}  // namespace iwseg
