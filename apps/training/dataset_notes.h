#pragma once

#include <vector>

#include "data/dataset.h"

namespace iwseg {

/// Prints, a line each, what was left out or taken otherwise than written when the dataset was opened.
void print_notes(const Dataset& dataset);
/// And which label values are lesion, where that does not go without saying. labels: as configured. Throws as
/// LesionLabels does.
void print_notes(const Dataset& dataset, const std::vector<int>& labels);

}  // namespace iwseg
