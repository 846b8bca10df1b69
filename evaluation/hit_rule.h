#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "evaluation/instances.h"
#include "evaluation/records.h"

namespace iwseg {

/// What an overlap of a lesion and a detection counts for, in everything but the protocol `paper` and the metrics that
/// other packages define. Reasons are in docs/evaluation.md.
struct HitRule {
    /// Least intersection over union of a hit, as in PI-CAI (Saha et al., Lancet Oncology 2024).
    double iou = 0.1;
    /// A detection that is no hit is still a part of the lesion where at least this share of it lies inside: it is no
    /// false positive then.
    double inside = 0.5;

    /// Voxels of the lesion, of the detection, and those they share.
    bool hits(double lesion, double detection, double shared) const;
    bool is_part(double detection, double shared) const;
};

enum class Outcome : std::uint8_t {
    found,           ///< a lesion whose best detection hits it
    missed,          ///< a lesion without such a detection
    hit,             ///< a detection that hits its best lesion
    part,            ///< a detection within a lesion, too small to hit it: counts for nothing
    false_positive,  ///< any other detection, be it that it overlaps a lesion
    dropped,         ///< a detection that is not kept: counts for nothing
};

/// Outcomes of a scan's lesions and detections, [0] being those of label 1.
struct InstanceOutcomes {
    std::vector<Outcome> lesions, detections;

    std::int64_t found() const;
    std::int64_t false_positives() const;
};

/// keeps: which detections count, as a rule of masks says; none given: all.
InstanceOutcomes outcomes_of(const Instances& instances, const std::function<bool(const Instance&)>& keeps = {},
                             const HitRule& rule = {});

/// The outcome of each record of one scan. Intersection over union is Dice / (2 - Dice), and voxels follow from
/// diameters, so that records of any origin can be counted; a detection whose hit_obj is not among them is no part.
std::vector<Outcome> outcomes_of(const std::vector<Record>& records, const HitRule& rule = {});

}  // namespace iwseg
