#pragma once

#include <string>
#include <vector>

#include "data/label_classes.h"
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
/// What was measured of the lesions of one class.
struct ClassMetrics {
    LabelClass of;
    const MetricsReport* metrics;
};

/// {"options": {…}, "classes": {NAME: {"values": […], "cases": …, "all": …, "by_size": …}},
///  "mean": {METRIC: {…}}, "mean_of": {METRIC: {…}}}.
/// mean is over the classes of their means over cases, of those that have one; how many: mean_of. Of classes of one
/// evaluation.
std::string class_metrics_json(const std::vector<ClassMetrics>& classes);
/// A line a class, of its means over cases, and one of the mean over classes; for a terminal.
std::string class_metrics_table(const std::vector<ClassMetrics>& classes);

/// One line a case, one for the mean over cases and one for all lesions pooled, one a stratum; for a terminal.
std::string metrics_table(const MetricsReport& report);

}  // namespace iwseg
