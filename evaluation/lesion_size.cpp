#include "evaluation/lesion_size.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace iwseg {
namespace {

/// Of all lesions and of all detections, in a common unit that a ratio does not need.
struct Volumes {
    double lesions = 0, detections = 0;

    void add(const std::vector<Record>& records, SizeUnit unit) {
        for (const Record& record : records) {
            const double diameter = diameter_of(record, unit);
            (record.is_tum ? lesions : detections) += diameter * diameter * diameter;
        }
    }
    double ratio() const { return detections / lesions; }  // x / 0 is infinity and 0 / 0 NaN, as wanted
};

}  // namespace

const char* name_of(SizeUnit unit) {
    return unit == SizeUnit::mm ? "mm" : "voxels";
}

SizeUnit size_unit(const Records& records) {
    for (const auto& [scan, list] : records)
        for (const Record& record : list)
            if (record.diameter_mm <= 0) return SizeUnit::voxels;
    return SizeUnit::mm;
}

double diameter_of(const Record& record, SizeUnit unit) {
    return unit == SizeUnit::mm ? record.diameter_mm : record.diameter;
}

std::vector<double> lesion_diameters(const Records& records, SizeUnit unit) {
    std::vector<double> diameters;
    for (const auto& [scan, list] : records)
        for (const Record& record : list)
            if (record.is_tum) diameters.push_back(diameter_of(record, unit));
    return diameters;
}

std::vector<double> size_bounds(std::vector<double> diameters, int strata) {
    std::sort(diameters.begin(), diameters.end());
    std::vector<double> bounds;
    const auto groups = static_cast<std::size_t>(std::max(strata, 1));
    for (std::size_t s = 1; s <= groups && !diameters.empty(); ++s) {
        const std::size_t up_to = (s * diameters.size() + groups - 1) / groups;
        const double bound = diameters[std::max<std::size_t>(up_to, 1) - 1];
        if (bounds.empty() || bound > bounds.back()) bounds.push_back(bound);
    }
    return bounds;
}

double volume_ratio(const std::vector<Record>& records, SizeUnit unit) {
    Volumes volumes;
    volumes.add(records, unit);
    return volumes.ratio();
}

double volume_ratio(const Records& records) {
    const SizeUnit unit = size_unit(records);
    Volumes volumes;
    for (const auto& [scan, list] : records) volumes.add(list, unit);
    return volumes.ratio();
}

std::string volume_ratio_text(double ratio) {
    if (std::isnan(ratio)) return "-";
    if (!covers_too_much(ratio)) return fmt::format("{:.2f}", ratio);
    return fmt::format("{:.1f} (over {:g})", ratio, kLargestSensibleVolumeRatio);
}

bool covers_too_much(double ratio) {
    return ratio > kLargestSensibleVolumeRatio;
}

}  // namespace iwseg
