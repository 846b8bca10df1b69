#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/evaluation/evaluation_cases.h"
#include "apps/evaluation/metrics_files.h"
#include "evaluation/metrics.h"
#include "evaluation/records.h"

namespace iwseg {

constexpr const char* kMetricsFile = "metrics.json";

struct EvaluationOptions {
    std::filesystem::path dataset;           ///< whose labels predictions are compared with
    std::filesystem::path reference;         ///< in place of dataset: a folder of masks
    std::filesystem::path predictions;       ///< folder; apps/prediction/predicted_scan.h says of what files
    std::filesystem::path out;               ///< records.json to write
    std::vector<std::string> cases;          ///< empty: every labelled case that has a prediction
    std::vector<int> labels;                 ///< label values that are lesion; empty: those that the dataset names
    MetricOptions metrics = {};              ///< where any is wanted, metrics.json is written beside out
    bool metrics_file = true;                ///< else they are only returned
    int strata = 2;                          ///< of lesions by size in metrics.json, of about equal count
    double small_diameter = 0;               ///< above 0: two strata, cut here, in place of halves
    SizeUnit small_unit = SizeUnit::voxels;  ///< of small_diameter
};

struct EvaluatedCase {
    std::string name;
    LesionCounts counts;
    Overlap overlap;
    double volume_ratio = 0;  ///< predicted over true (evaluation/lesion_size.h)
};

struct Evaluation {
    Records records;
    std::vector<EvaluatedCase> cases;  ///< by name
    SizeBound small;                   ///< of the smaller half of all lesions, or as asked
    bool small_as_asked = false;       ///< small_diameter was given
    MetricsReport metrics;             ///< those asked for
    std::vector<std::string> notes;    ///< which cases were evaluated and what was left out, in sentences

    LesionCounts counts() const;  ///< of all cases together
    double mean_dice() const;     ///< over cases
};

/// Evaluates predicted scans per lesion and writes their records, into a folder that is made. Throws InputError, naming
/// the file, before the work where records cannot be written, and where a case is unknown, has no label or no
/// prediction, a prediction lies elsewhere in space or holds a value that is not finite or no probability.
Evaluation evaluate_cases(const EvaluationOptions& options);

/// Its parts, for several folders by the same cases: what predictions are compared with, and the evaluation of the
/// cases that were chosen (cases_to_evaluate); options.cases is not read.
Reference open_reference(const EvaluationOptions& options);
Evaluation evaluate_cases(const EvaluationOptions& options, const Reference& reference, const CasesToEvaluate& chosen);

/// One line a case and one for all, for a terminal; the metrics after it.
std::string evaluation_table(const Evaluation& evaluation);

}  // namespace iwseg
