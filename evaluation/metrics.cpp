#include "evaluation/metrics.h"

#include <algorithm>
#include <limits>

#include "evaluation/hit_rule.h"

namespace iwseg {

double LesionCounts::share(std::int64_t part, std::int64_t whole) {
    if (whole == 0) return std::numeric_limits<double>::quiet_NaN();
    return static_cast<double>(part) / static_cast<double>(whole);
}

LesionCounts& LesionCounts::operator+=(const LesionCounts& other) {
    lesions += other.lesions;
    found += other.found;
    false_positives += other.false_positives;
    small_lesions += other.small_lesions;
    small_found += other.small_found;
    return *this;
}

LesionCounts count_lesions(const std::vector<Record>& records, const SizeBound& small_sizes) {
    LesionCounts counts;
    const std::vector<Outcome> outcomes = outcomes_of(records);
    for (std::size_t i = 0; i < records.size(); ++i) {
        counts.false_positives += outcomes[i] == Outcome::false_positive;
        if (!records[i].is_tum) continue;
        const bool found = outcomes[i] == Outcome::found, small = small_sizes.holds(records[i]);
        ++counts.lesions;
        counts.found += found;
        counts.small_lesions += small;
        counts.small_found += small && found;
    }
    return counts;
}

double Overlap::dice() const {
    if (target + prediction == 0) return 1;
    return 2.0 * static_cast<double>(both) / static_cast<double>(target + prediction);
}

Overlap& Overlap::operator+=(const Overlap& other) {
    both += other.both;
    target += other.target;
    prediction += other.prediction;
    return *this;
}

std::vector<LesionCounts> count_by_size(const Records& records, SizeUnit unit, const std::vector<double>& bounds) {
    std::vector<LesionCounts> strata(bounds.size());
    if (bounds.empty()) return strata;
    for (const auto& [scan, list] : records) {
        const std::vector<Outcome> outcomes = outcomes_of(list);
        for (std::size_t i = 0; i < list.size(); ++i) {
            if (!list[i].is_tum) continue;
            const double diameter = diameter_of(list[i], unit);
            const auto place = std::lower_bound(bounds.begin(), bounds.end(), diameter) - bounds.begin();
            LesionCounts& stratum = strata[std::min<std::size_t>(place, bounds.size() - 1)];
            ++stratum.lesions;
            stratum.found += outcomes[i] == Outcome::found;
        }
    }
    return strata;
}

}  // namespace iwseg
