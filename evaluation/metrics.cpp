#include "evaluation/metrics.h"

#include <algorithm>
#include <limits>

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

LesionCounts count_lesions(const std::vector<Record>& records, double small_diameter) {
    LesionCounts counts;
    for (const Record& record : records) {
        const bool hit = record.hit_dice > 0;
        if (!record.is_tum) {
            counts.false_positives += !hit;
            continue;
        }
        const bool small = record.diameter <= small_diameter;
        ++counts.lesions;
        counts.found += hit;
        counts.small_lesions += small;
        counts.small_found += small && hit;
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

std::vector<LesionCounts> count_by_size(const Records& records, const std::vector<double>& bounds) {
    std::vector<LesionCounts> strata(bounds.size());
    if (bounds.empty()) return strata;
    for (const auto& [scan, list] : records)
        for (const Record& record : list) {
            if (!record.is_tum) continue;
            const auto place = std::lower_bound(bounds.begin(), bounds.end(), record.diameter) - bounds.begin();
            LesionCounts& stratum = strata[std::min<std::size_t>(place, bounds.size() - 1)];
            ++stratum.lesions;
            stratum.found += record.hit_dice > 0;
        }
    return strata;
}

}  // namespace iwseg
