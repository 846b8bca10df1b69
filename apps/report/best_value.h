#pragma once

#include <cstddef>
#include <vector>

namespace iwseg {

/// Which values of a table's column are shown as the best: no worse than any and better than another. Runs that are
/// left out (that cover too much of the scan, evaluation/lesion_size.h) are neither best nor compared with, and neither
/// is NaN.
std::vector<bool> best_values(const std::vector<double>& values, bool higher_is_better,
                              const std::vector<bool>& left_out);

}  // namespace iwseg
