#include "evaluation/picai.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "evaluation/assignment.h"

namespace iwseg {
namespace {

/// A pair that overlaps enough; lesion and detection from 0.
struct Pair {
    std::size_t lesion, detection;
    double iou;
};

std::vector<Pair> pairs_above(const Instances& instances, double iou) {
    constexpr double epsilon = 1e-8;  // picai_eval adds it to both sides of the fraction
    std::vector<Pair> pairs;
    for (const InstanceOverlap& overlap : instances.overlaps) {
        const auto lesion = static_cast<std::size_t>(overlap.lesion - 1);
        const auto detection = static_cast<std::size_t>(overlap.detection - 1);
        const auto shared = static_cast<double>(overlap.voxels);
        const auto both =
            static_cast<double>(instances.lesions[lesion].voxels + instances.detections[detection].voxels) - shared;
        const double share = (shared + epsilon) / (both + epsilon);
        if (share >= iou) pairs.push_back({lesion, detection, share});
    }
    return pairs;
}

/// Splits pairs into groups that share no lesion and no detection: each is assigned on its own.
std::vector<std::vector<Pair>> independent_groups(const std::vector<Pair>& pairs, std::size_t lesions,
                                                  std::size_t detections) {
    std::vector<std::size_t> parent(lesions + detections);
    std::iota(parent.begin(), parent.end(), std::size_t{0});
    const auto root = [&](std::size_t node) {
        while (parent[node] != node) node = parent[node] = parent[parent[node]];
        return node;
    };
    for (const Pair& pair : pairs) parent[root(pair.lesion)] = root(lesions + pair.detection);
    std::vector<std::vector<Pair>> groups(parent.size());
    for (const Pair& pair : pairs) groups[root(pair.lesion)].push_back(pair);
    std::erase_if(groups, [](const auto& group) { return group.empty(); });
    return groups;
}

/// Writes the matched pairs of a group.
void assign_group(const std::vector<Pair>& group, std::vector<Pair>& matched) {
    std::vector<std::size_t> lesions, detections;
    for (const Pair& pair : group) {
        lesions.push_back(pair.lesion);
        detections.push_back(pair.detection);
    }
    const auto distinct = [](std::vector<std::size_t>& values) {
        std::sort(values.begin(), values.end());
        values.erase(std::unique(values.begin(), values.end()), values.end());
    };
    distinct(lesions);
    distinct(detections);
    const auto place = [](const std::vector<std::size_t>& values, std::size_t value) {
        return static_cast<std::size_t>(std::lower_bound(values.begin(), values.end(), value) - values.begin());
    };
    // One more match outweighs any gain in overlap, which is at most 1 a match.
    std::vector<double> weights(lesions.size() * detections.size(), 0.0);
    for (const Pair& pair : group)
        weights[place(lesions, pair.lesion) * detections.size() + place(detections, pair.detection)] = 1 + pair.iou;
    const auto column_of = heaviest_assignment(weights, lesions.size(), detections.size());
    for (const Pair& pair : group)
        if (column_of[place(lesions, pair.lesion)] == static_cast<std::ptrdiff_t>(place(detections, pair.detection)))
            matched.push_back(pair);
}

}  // namespace

void PicaiMatches::append(const PicaiMatches& other) {
    lesions.insert(lesions.end(), other.lesions.begin(), other.lesions.end());
    false_positives.insert(false_positives.end(), other.false_positives.begin(), other.false_positives.end());
}

PicaiMatches match_picai(const Instances& instances, double iou) {
    const std::vector<Pair> pairs = pairs_above(instances, iou);
    PicaiMatches matches;
    for (const Instance& lesion : instances.lesions) matches.lesions.push_back({lesion.diameter(), 0, 0});
    std::vector<bool> overlaps_enough(instances.detections.size());
    for (const Pair& pair : pairs) overlaps_enough[pair.detection] = true;
    std::vector<Pair> matched;
    for (const auto& group : independent_groups(pairs, instances.lesions.size(), instances.detections.size()))
        assign_group(group, matched);
    for (const Pair& pair : matched) {
        matches.lesions[pair.lesion].iou = pair.iou;
        matches.lesions[pair.lesion].confidence = instances.largest_probability[pair.detection];
    }
    for (std::size_t d = 0; d < instances.detections.size(); ++d)
        if (!overlaps_enough[d])
            matches.false_positives.push_back({instances.detections[d].diameter(), instances.largest_probability[d]});
    return matches;
}

PicaiScore picai_score(const PicaiMatches& matches, const SizeRange& range) {
    struct Event {
        double confidence;
        bool hit;
    };
    PicaiScore score;
    std::vector<Event> events;
    for (const PicaiMatches::Lesion& lesion : matches.lesions) {
        if (!range.holds(lesion.diameter)) continue;
        if (lesion.iou > 0) events.push_back({lesion.confidence, true});
        ++(lesion.iou > 0 ? score.true_positives : score.false_negatives);
    }
    for (const PicaiMatches::FalsePositive& detection : matches.false_positives) {
        if (!range.holds(detection.diameter)) continue;
        events.push_back({detection.confidence, false});
        ++score.false_positives;
    }
    const auto lesions = static_cast<double>(score.true_positives + score.false_negatives);
    if (events.empty() && lesions == 0) score.average_precision = std::numeric_limits<double>::quiet_NaN();
    if (lesions == 0) return score;
    std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.confidence > b.confidence; });
    double hits = 0;
    for (std::size_t i = 0; i < events.size();) {
        const double before = hits, confidence = events[i].confidence;
        for (; i < events.size() && events[i].confidence == confidence; ++i) hits += events[i].hit;
        score.average_precision += (hits - before) / lesions * (hits / static_cast<double>(i));
    }
    return score;
}

}  // namespace iwseg
