#pragma once

#include <cstdint>
#include <vector>

#include "evaluation/instances.h"

namespace iwseg {

/// Hits as the PI-CAI challenge counts them, in one scan or several. Diameters in voxels; a detection's confidence is
/// its largest probability.
struct PicaiMatches {
    struct Lesion {
        double diameter = 0, iou = 0, confidence = 0;  ///< of its detection; both 0: missed
    };
    struct FalsePositive {
        double diameter = 0, confidence = 0;
    };
    std::vector<Lesion> lesions;
    std::vector<FalsePositive> false_positives;

    void append(const PicaiMatches& other);
};

/// Lesions and detections of an intersection over union of at least iou are matched one to one: as many as possible,
/// and of those the largest sum of overlaps. A detection that overlaps enough but lost its lesion to another is neither
/// hit nor false positive. Of equal sums one is taken, maybe not SciPy's. As evaluate_case of package picai_eval with
/// its defaults (Saha et al., Lancet Oncology 2024).
PicaiMatches match_picai(const Instances& instances, double iou = 0.1);

struct PicaiScore {
    std::int64_t true_positives = 0, false_positives = 0, false_negatives = 0;
    /// Sum over falling confidence of precision times gained recall, missed lesions never being reached; 0 without a
    /// lesion as in picai_eval, NaN without lesion and detection, where picai_eval stops.
    double average_precision = 0;
};

/// Of lesions of these sizes, and false positives of these sizes.
PicaiScore picai_score(const PicaiMatches& matches, const SizeRange& range = {});

}  // namespace iwseg
