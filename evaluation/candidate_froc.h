#pragma once

#include <cstdint>
#include <vector>

#include "evaluation/candidates.h"
#include "evaluation/froc.h"

namespace iwseg {

struct CandidateFrocOptions {
    int draws = 1000;  ///< of the bootstrap; at least 1
    std::uint64_t seed = 0;
};

/// The sensitivity of a detector at rates of false positives, with what the bootstrap over scans says: deviation and 95
/// % interval of the draws, NaN (and no bounds of the curve) where there is a single scan.
struct CandidateFroc {
    std::int64_t scans = 0, nodules = 0;
    Estimate score;                       ///< mean sensitivity at kLunaRates: the competition metric
    std::vector<Estimate> sensitivity;    ///< at each of kLunaRates
    std::vector<double> bootstrap_mean;   ///< of the draws, at each of kLunaRates
    std::vector<double> false_positives;  ///< a scan, from 1/8 to 8 in equal ratios, 32 to a doubling
    FrocCurve curve;                      ///< there
    double all_false_positives = 0;       ///< a scan, of all candidates
    double all_recall = 0;
};

/// As LUNA16's evaluation script computes it (Setio et al., Medical Image Analysis 2017): operating points at every
/// distinct probability, sensitivity linear between them, the highest where several have one rate, flat beyond the
/// last; scans drawn with replacement; interval bounds are the draws of rank floor(0.025 n) and floor(0.975 n). Draws
/// without a nodule are left out. Where no candidate hits, the sensitivity is 0 (the script: not a number).
CandidateFroc compute_candidate_froc(const CandidateMatches& matches, const CandidateFrocOptions& options);

}  // namespace iwseg
