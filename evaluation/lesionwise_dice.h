#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "evaluation/instances.h"

namespace iwseg {

/// How the BraTS 2023 challenge compares lesion by lesion (package BraTS-2023-Metrics by R. Saluja; Moawad et al.,
/// arXiv 2306.00838). The defaults are those of its metastases task.
struct LesionwiseOptions {
    int dilation = 1;          ///< steps by which lesions grow: near ones become one, and near detections count
    double volume = 2;         ///< mm³; lesions of at most this volume are left out
    double missed_hd95 = 374;  ///< mm; of a missed lesion and of a false positive
    bool with_hd95 = true;     ///< distances take most of the time
};

/// Of one scan or several. Diameters in voxels.
struct LesionwiseMatches {
    struct Lesion {
        double diameter = 0, volume = 0;  ///< mm³; of the components that grew together
        bool found = false;               ///< some detection lies in the grown lesion
        double dice = 0, hd95 = 0;        ///< with all those detections together; hd95 in mm, missed_hd95 where missed
    };
    std::vector<Lesion> lesions;          ///< those above options.volume
    std::vector<double> false_positives;  ///< diameters of detections in no grown lesion, whatever their volume

    void append(const LesionwiseMatches& other);
};

/// spacing: mm along D, H, W. A step of dilation adds the 18 nearest voxels. host: the threads that compute; none: the
/// calling one. Throws InputError where dilation or volume is negative.
LesionwiseMatches match_lesionwise(const Instances& instances, const std::array<double, 3>& spacing,
                                   const LesionwiseOptions& options = {}, Stream host = {});

/// Sums over lesions divided by lesions + false positives, which give 0 and missed_hd95. Without either Dice is 1 and
/// HD95 0.
struct LesionwiseScore {
    std::int64_t true_positives = 0, false_positives = 0, false_negatives = 0;
    double dice = 0, hd95 = 0;
};

/// Of lesions of these sizes, and false positives of these sizes.
LesionwiseScore lesionwise_score(const LesionwiseMatches& matches, const LesionwiseOptions& options = {},
                                 const SizeRange& range = {});

}  // namespace iwseg
