#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "evaluation/records.h"

namespace iwseg {

/// False positives a scan at which LUNA16 asks for the sensitivity.
inline constexpr std::array<double, 7> luna_rates{0.125, 0.25, 0.5, 1, 2, 4, 8};

enum class FrocProtocol : std::uint8_t {
    /// Scans without records count; bootstrap over scans with replacement; 95 % intervals.
    corrected,
    /// As published, number for number: fixed thresholds, draws of 80 % of the scans without replacement whose false
    /// positives are nevertheless divided by all scans, scans without any record left out.
    paper,
};

struct FrocOptions {
    FrocProtocol protocol = FrocProtocol::corrected;
    std::int64_t scans = 0;             ///< corrected: 0 is the number of scans in the records; paper: 0
    int strata = 2;                     ///< by lesion size, of about equally many lesions each
    std::vector<double> stratum_bounds = {};  ///< largest diameter of each stratum, rising; empty: from the records
    int draws = 1000;                   ///< corrected; the paper has 50
    std::uint64_t seed = 0;             ///< corrected; the paper has 42
};

/// A value with what the draws say of it: deviation (population) and the bounds of a 95 % interval, in `paper` one
/// deviation to either side. With a single scan every draw is the same and the interval says nothing.
struct Estimate {
    double value = 0, deviation = 0, low = 0, high = 0;
};

/// Recall at Froc::false_positives, of all lesions or those of one size.
struct FrocCurve {
    std::vector<double> recall, low, high;
};

/// The lesions of one size: diameter above the stratum before it and at most diameter_high, in voxels.
struct SizeStratum {
    double diameter_low = 0, diameter_high = 0;  ///< smallest and largest in the stratum
    std::int64_t lesions = 0, found = 0;
    Estimate recall;                             ///< of every detection, whatever its logit
    FrocCurve curve;
};

/// Free-response operating characteristic of one set of records.
struct Froc {
    std::int64_t scans = 0, records = 0, lesions = 0;
    Estimate object_dice;                  ///< mean Dice of found lesions with their hit; deviation is over lesions
    Estimate average_recall;               ///< mean recall at 0, 0.01, …, 5 false positives a scan
    Estimate luna_score;                   ///< mean recall at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan
    std::vector<Estimate> sensitivity;     ///< at each of luna_rates
    double all_false_positives = 0;        ///< a scan, at the lowest threshold
    double all_recall = 0;                 ///< at the lowest threshold
    double whole_set_average_recall = 0;   ///< of all scans at once; `paper` averages over its draws instead
    std::vector<double> false_positives;   ///< a scan: 0, 0.01, …, 6
    FrocCurve curve;
    std::vector<SizeStratum> strata;       ///< smallest lesions first; empty in `paper`
};

/// Throws InputError where there are no records with a lesion, or options.scans is less than the scans in the records.
Froc compute_froc(const Records& records, const FrocOptions& options);

/// Upper bounds that cut diameters into `strata` groups of about equal size; equal diameters stay together, so there
/// may be fewer groups. With two, the first is the smaller half: at most the (lower) median.
std::vector<double> size_bounds(std::vector<double> diameters, int strata);
/// Diameters of every lesion in the records.
std::vector<double> lesion_diameters(const Records& records);

}  // namespace iwseg
