#pragma once

#include <algorithm>
#include <limits>

namespace iwseg {

/// Of several classes the labels say where one is, as they are what a user gets, and the largest probability may be
/// below 1/2. A detection is then what the class's labels join, scored by probabilities: each voxel's where the label
/// holds, above 0 however small it is, and 0 elsewhere. Detections are above kThresholdByLabel.
inline float score_by_label(float probability, bool label_holds) {
    return label_holds ? std::max(probability, std::numeric_limits<float>::min()) : 0;
}

inline constexpr float kThresholdByLabel = 0;

}  // namespace iwseg
