#include "evaluation/panoptic.h"

#include <algorithm>
#include <limits>

namespace iwseg {

void PanopticMatches::append(const PanopticMatches& other) {
    lesions.insert(lesions.end(), other.lesions.begin(), other.lesions.end());
    false_positives.insert(false_positives.end(), other.false_positives.begin(), other.false_positives.end());
}

PanopticMatches match_panoptic(const Instances& instances, double iou) {
    struct Pair {
        double iou;
        std::size_t lesion, detection;
    };
    std::vector<Pair> pairs;
    for (const InstanceOverlap& overlap : instances.overlaps)
        if (const double share = overlap_over_union(instances, overlap); share >= iou)
            pairs.push_back(
                {share, static_cast<std::size_t>(overlap.lesion - 1), static_cast<std::size_t>(overlap.detection - 1)});
    std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.iou > b.iou; });

    PanopticMatches matches;
    for (const Instance& lesion : instances.lesions) matches.lesions.push_back({lesion.diameter(), 0});
    std::vector<bool> lesion_taken(instances.lesions.size()), detection_taken(instances.detections.size());
    for (const Pair& pair : pairs) {
        if (lesion_taken[pair.lesion] || detection_taken[pair.detection]) continue;
        lesion_taken[pair.lesion] = detection_taken[pair.detection] = true;
        matches.lesions[pair.lesion].iou = pair.iou;
    }
    for (std::size_t d = 0; d < instances.detections.size(); ++d)
        if (!detection_taken[d]) matches.false_positives.push_back(instances.detections[d].diameter());
    return matches;
}

PanopticQuality panoptic_quality(const PanopticMatches& matches, const SizeRange& range) {
    PanopticQuality quality;
    double sum = 0;
    for (const PanopticMatches::Lesion& lesion : matches.lesions) {
        if (!range.holds(lesion.diameter)) continue;
        ++(lesion.iou > 0 ? quality.true_positives : quality.false_negatives);
        sum += lesion.iou;
    }
    for (const double diameter : matches.false_positives) quality.false_positives += range.holds(diameter);
    const auto hits = static_cast<double>(quality.true_positives);
    const auto others = static_cast<double>(quality.false_positives + quality.false_negatives);
    if (hits + others == 0) {
        quality.recognition = quality.segmentation = quality.panoptic = std::numeric_limits<double>::quiet_NaN();
    } else if (hits > 0) {
        quality.recognition = hits / (hits + 0.5 * others);
        quality.segmentation = sum / hits;
        quality.panoptic = quality.recognition * quality.segmentation;
    }
    return quality;
}

}  // namespace iwseg
