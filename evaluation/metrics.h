#pragma once

#include <cstdint>
#include <vector>

#include "evaluation/lesion_size.h"
#include "evaluation/records.h"

namespace iwseg {

/// How well one scan, or several together, were segmented: what is found and what a false positive by the rule of
/// evaluation/hit_rule.h.
struct LesionCounts {
    std::int64_t lesions = 0, found = 0, false_positives = 0;
    std::int64_t small_lesions = 0, small_found = 0;  ///< of the smaller half

    double recall() const { return share(found, lesions); }
    double small_recall() const { return share(small_found, small_lesions); }
    /// NaN where there is none to find.
    static double share(std::int64_t part, std::int64_t whole);
    LesionCounts& operator+=(const LesionCounts& other);
};

/// small: bound of the smaller half (size_bounds of evaluation/lesion_size.h).
LesionCounts count_lesions(const std::vector<Record>& records, const SizeBound& small);

/// 2 |A and B| / (|A| + |B|) over the voxels, nonzero being inside; 1 where both are empty.
struct Overlap {
    std::int64_t both = 0, target = 0, prediction = 0;

    double dice() const;
    Overlap& operator+=(const Overlap& other);
};

/// Lesions by diameter: those above bounds[s - 1] and at most bounds[s]; larger ones count to the last.
std::vector<LesionCounts> count_by_size(const Records& records, SizeUnit unit, const std::vector<double>& bounds);

}  // namespace iwseg
