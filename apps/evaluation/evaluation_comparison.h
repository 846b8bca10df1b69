#pragma once

#include <string>
#include <vector>

#include "apps/evaluation/evaluation_run.h"

namespace iwseg {

/// A folder of predictions under the name to show.
struct NamedPredictions {
    std::string name;
    std::filesystem::path folder;
};

/// From NAME=FOLDER or FOLDER, whose name is then the last of its path that is not "predictions". Throws InputError
/// where two have one name, or a folder is none.
std::vector<NamedPredictions> named_predictions(const std::vector<std::string>& arguments);

struct NamedEvaluation {
    std::string name;
    Evaluation evaluation;
};

/// Evaluates each folder against the reference on the cases that all of them predict, and writes
/// options.out/NAME/records.json (and metrics.json). Throws as evaluate_cases.
std::vector<NamedEvaluation> compare_predictions(const EvaluationOptions& options, const Reference& reference,
                                                 const std::vector<NamedPredictions>& predictions);

/// For a terminal: the cases of each, a line each of all cases, and which lesions only one of a pair finds.
std::string comparison_table(const std::vector<NamedEvaluation>& evaluations);

}  // namespace iwseg
