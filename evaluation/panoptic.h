#pragma once

#include <cstdint>
#include <vector>

#include "evaluation/instances.h"

namespace iwseg {

/// What panoptic quality is counted from, in one scan or several. Diameters in voxels.
struct PanopticMatches {
    struct Lesion {
        double diameter = 0, iou = 0;  ///< iou with its detection; 0: missed
    };
    std::vector<Lesion> lesions;
    std::vector<double> false_positives;  ///< diameters of detections that match no lesion

    void append(const PanopticMatches& other);
};

/// A lesion and a detection match where their intersection over union is at least iou. As package panoptica matches
/// (NaiveThresholdMatching): pairs of higher overlap first, each lesion and detection once. Above 0.5 no two pairs
/// compete.
PanopticMatches match_panoptic(const Instances& instances, double iou = 0.5);

/// Recognition quality tp / (tp + fp/2 + fn/2), segmentation quality (mean IoU of the matches) and their product
/// (Kirillov et al., CVPR 2019). Without a match 0; NaN where there is neither lesion nor detection.
struct PanopticQuality {
    std::int64_t true_positives = 0, false_positives = 0, false_negatives = 0;
    double recognition = 0, segmentation = 0, panoptic = 0;
};

/// Of lesions of these sizes, and false positives of these sizes.
PanopticQuality panoptic_quality(const PanopticMatches& matches, const SizeRange& range = {});

}  // namespace iwseg
