#pragma once

#include <string>
#include <vector>

#include "apps/evaluation/evaluation_comparison.h"

namespace iwseg {

struct ClassEvaluation {
    LabelClass of;
    Evaluation evaluation;
};

/// Evaluates each class by itself, one after another, so that memory is that of one: its lesions are the components of
/// its values. options.out is a folder; receives CLASS/records.json, and metrics.json of all classes where metrics are
/// wanted. Throws as evaluate_cases, and InputError where options.out is a file's name.
std::vector<ClassEvaluation> evaluate_classes(const EvaluationOptions& options, const Reference& reference,
                                              const std::vector<LabelClass>& classes);

/// For a terminal: each class's table, then a line a class and one of their means.
std::string class_table(const std::vector<ClassEvaluation>& evaluations);

/// Compares several folders class by class, into options.out/CLASS/NAME; returns the tables.
std::string compare_classes(const EvaluationOptions& options, const Reference& reference,
                            const std::vector<LabelClass>& classes, const std::vector<NamedPredictions>& predictions);

}  // namespace iwseg
