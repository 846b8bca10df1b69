#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "evaluation/records.h"

namespace iwseg {

/// What diameters are given in: mm where they are known, so that scans of different voxels can be compared.
enum class SizeUnit : std::uint8_t { voxels, mm };

const char* name_of(SizeUnit unit);  ///< "voxels" or "mm"

/// mm where every record of every scan says its diameter in mm, else voxels.
SizeUnit size_unit(const Records& records);

/// Record::diameter_mm or Record::diameter.
double diameter_of(const Record& record, SizeUnit unit);

/// Diameters of every lesion in the records.
std::vector<double> lesion_diameters(const Records& records, SizeUnit unit);

/// Upper bounds that cut diameters into `strata` groups of about equal size; equal diameters stay together, so there
/// may be fewer groups. With two, the first is the smaller half: at most the (lower) median.
std::vector<double> size_bounds(std::vector<double> diameters, int strata);

/// The largest of the small lesions.
struct SizeBound {
    double diameter = std::numeric_limits<double>::infinity();
    SizeUnit unit = SizeUnit::voxels;

    bool holds(const Record& record) const { return diameter_of(record, unit) <= diameter; }
};

/// A run that predicts more than this times the true volume is marked, and never the best of a table: it meets lesions
/// by covering the scan.
inline constexpr double kLargestSensibleVolumeRatio = 5;

/// Volume of all detections over that of all lesions, from their diameters. Infinity where there are detections and no
/// lesion, NaN where there is neither.
double volume_ratio(const std::vector<Record>& records, SizeUnit unit);
/// Of all scans together.
double volume_ratio(const Records& records);

/// "1.27", "12.3 (over 5)", "-" for NaN.
std::string volume_ratio_text(double ratio);

/// Whether a ratio is above largest_sensible_volume_ratio; false for NaN.
bool covers_too_much(double ratio);

}  // namespace iwseg
