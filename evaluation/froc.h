#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluation/lesion_size.h"
#include "evaluation/records.h"

namespace iwseg {

/// False positives a scan at which LUNA16 asks for the sensitivity.
inline constexpr std::array<double, 7> kLunaRates{0.125, 0.25, 0.5, 1, 2, 4, 8};

enum class FrocProtocol : std::uint8_t {
    /// What is found and what a false positive says the rule of evaluation/hit_rule.h; scans without records count;
    /// bootstrap over scans with replacement; 95 % intervals.
    corrected,
    /// As published, number for number: any overlap is a hit, fixed thresholds, draws of 80 % of the scans without
    /// replacement whose false
    /// positives are nevertheless divided by all scans, scans without any record left out.
    paper,
};

struct FrocOptions {
    FrocProtocol protocol = FrocProtocol::corrected;
    std::int64_t scans = 0;                   ///< corrected: 0 is the number of scans in the records; paper: 0
    int strata = 2;                           ///< by lesion size, of about equally many lesions each
    std::vector<double> stratum_bounds = {};  ///< largest diameter of each stratum, rising; empty: from the records
    std::optional<SizeUnit> size_unit = {};   ///< of diameters; as size_unit of the records where it is not given
    int draws = 1000;                         ///< corrected; the paper has 50
    std::uint64_t seed = 0;                   ///< corrected; the paper has 42
};

/// A value with what the draws say of it: deviation (population) and the bounds of a 95 % interval, in `paper` one
/// deviation to either side. All NaN where draws say nothing: of a single scan every draw is the same.
struct Estimate {
    double value = 0, deviation = 0, low = 0, high = 0;

    bool has_interval() const { return !std::isnan(low); }
};

/// Recall at Froc::false_positives, of all lesions or those of one size. low, high: bounds of the intervals; empty
/// where draws say nothing.
struct FrocCurve {
    std::vector<double> recall, low, high;
};

/// The lesions of one size: diameter above the stratum before it and at most diameter_high, in Froc::size_unit.
struct SizeStratum {
    double diameter_low = 0, diameter_high = 0;  ///< smallest and largest in the stratum
    std::int64_t lesions = 0, found = 0;
    Estimate recall;  ///< of every detection, whatever its logit and the false positives
    FrocCurve curve;
};

/// Free-response operating characteristic of one set of records.
struct Froc {
    std::int64_t scans = 0, records = 0, lesions = 0;
    SizeUnit size_unit = SizeUnit::voxels;
    double volume_ratio = 0;              ///< evaluation/lesion_size.h
    Estimate object_dice;                 ///< mean Dice of found lesions with their hit; deviation is over lesions
    Estimate average_recall;              ///< mean recall at 0, 0.01, …, 5 false positives a scan
    Estimate luna_score;                  ///< mean recall at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan
    std::vector<Estimate> sensitivity;    ///< at each of kLunaRates
    double all_false_positives = 0;       ///< a scan, at the lowest threshold
    double all_recall = 0;                ///< at the lowest threshold
    double whole_set_average_recall = 0;  ///< of all scans at once; `paper` averages over its draws instead
    std::vector<double> false_positives;  ///< a scan: 0, 0.01, …, 8
    FrocCurve curve;
    std::vector<SizeStratum> strata;  ///< smallest lesions first; empty in `paper`
};

/// Throws InputError where there are no records with a lesion, options.scans is less than the scans in the records, or
/// in `paper` 80 % of the scans is none.
Froc compute_froc(const Records& records, const FrocOptions& options);

/// False positives a scan at which bars and tables compare recall by size: methods are compared where they raise as
/// many false alarms.
inline constexpr double kComparisonRate = 1;

/// Recall of a curve of this FROC at a rate from 0 to 8 false positives a scan, linear between the points, with its
/// interval where there is one; the deviation is not known.
Estimate recall_at(const Froc& froc, const FrocCurve& curve, double rate);

}  // namespace iwseg
