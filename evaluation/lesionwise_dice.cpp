#include "evaluation/lesionwise_dice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "evaluation/surface_distance.h"
#include "kernels/components/components_of.h"

// The original dilates each lesion on its own and looks which detections it meets. Lesions whose dilations touch are
// one there, so each dilated lesion is a component of the dilated mask: one labelling of that mask and one pass find
// all.
namespace iwseg {
namespace {

/// The part of the scan where lesions grow.
struct Grown {
    Box box;
    std::vector<std::int32_t> labels;  ///< (box): component of the dilated lesions
    std::int32_t count = 0;
};

Box box_around_lesions(const Instances& instances, int margin) {
    Box box = instances.lesions.front().box;
    for (const Instance& lesion : instances.lesions) box.include(lesion.box);
    for (int axis = 0; axis < 3; ++axis) {
        box.first[axis] = std::max<std::int64_t>(box.first[axis] - margin, 0);
        box.last[axis] = std::min(box.last[axis] + margin, instances.shape[axis] - 1);
    }
    return box;
}

/// Adds the voxels that share a face or an edge with one that is set, `steps` times; only what came last spreads.
void dilate(std::vector<std::uint8_t>& mask, const std::array<std::int64_t, 3>& shape, int steps) {
    std::vector<std::int64_t> front, next;
    for (std::size_t v = 0; v < mask.size(); ++v)
        if (mask[v]) front.push_back(static_cast<std::int64_t>(v));
    for (; steps > 0; --steps, front.swap(next), next.clear())
        for (const std::int64_t v : front) {
            const std::int64_t place[3] = {v / shape[2] / shape[1], v / shape[2] % shape[1], v % shape[2]};
            for (int step = 0; step < 27; ++step) {
                const int move[3] = {step / 9 - 1, step / 3 % 3 - 1, step % 3 - 1};
                if (std::abs(move[0]) + std::abs(move[1]) + std::abs(move[2]) > 2) continue;
                bool inside = true;
                for (int axis = 0; axis < 3; ++axis)
                    inside = inside && place[axis] + move[axis] >= 0 && place[axis] + move[axis] < shape[axis];
                const std::int64_t to = v + (move[0] * shape[1] + move[1]) * shape[2] + move[2];
                if (!inside || mask[to]) continue;
                mask[to] = 1;
                next.push_back(to);
            }
        }
}

Grown grow(const Instances& instances, int steps, Stream host) {
    Grown grown{box_around_lesions(instances, steps), {}, 0};
    const auto nothing = [](std::int64_t) { return false; };
    std::vector<std::uint8_t> mask =
        cut_masks(
            instances.shape, grown.box, [&](std::int64_t v) { return instances.lesion_labels[v] != 0; }, nothing)
            .target;
    const auto shape = grown.box.shape();
    dilate(mask, shape, steps);
    grown.labels.resize(mask.size());
    grown.count = components_of(mask, shape, DetectionRule::connectivity, grown.labels, host);
    return grown;
}

/// The components that grew together, and the detections in their grown region.
struct Group {
    std::vector<std::int32_t> lesions, detections;  ///< labels
};

void insert_once(std::vector<std::int32_t>& labels, std::int32_t label) {
    if (!labels.empty() && labels.back() == label) return;  // what a row mostly repeats
    if (std::find(labels.begin(), labels.end(), label) == labels.end()) labels.push_back(label);
}

std::vector<Group> group_lesions(const Instances& instances, int steps, Stream host) {
    if (instances.lesions.empty()) return {};
    const Grown grown = grow(instances, steps, host);
    std::vector<Group> groups(grown.count);
    std::size_t at = 0;
    for (std::int64_t d = grown.box.first[0]; d <= grown.box.last[0]; ++d)
        for (std::int64_t h = grown.box.first[1]; h <= grown.box.last[1]; ++h)
            for (std::int64_t w = grown.box.first[2]; w <= grown.box.last[2]; ++w, ++at) {
                if (grown.labels[at] == 0) continue;
                Group& group = groups[grown.labels[at] - 1];
                const std::int64_t voxel = (d * instances.shape[1] + h) * instances.shape[2] + w;
                if (const std::int32_t lesion = instances.lesion_labels[voxel]) insert_once(group.lesions, lesion);
                if (const std::int32_t label = instances.detection_labels[voxel]) insert_once(group.detections, label);
            }
    return groups;
}

/// Which group a label belongs to at the moment.
class Marks {
  public:
    explicit Marks(const std::vector<Instance>& instances) : group_(instances.size() + 1, -1) {}
    void set(const std::vector<std::int32_t>& labels, std::int64_t group) {
        for (const std::int32_t label : labels) group_[label] = group;
    }
    bool holds(std::int32_t label, std::int64_t group) const { return group_[label] == group; }

  private:
    std::vector<std::int64_t> group_;  ///< [0], background, is never set
};

double group_hd95(const Instances& instances, const Group& group, std::int64_t number, const Marks& lesions,
                  const Marks& detections, const std::array<double, 3>& spacing, Stream host) {
    Box box = instances.lesions[group.lesions.front() - 1].box;
    for (const std::int32_t label : group.lesions) box.include(instances.lesions[label - 1].box);
    for (const std::int32_t label : group.detections) box.include(instances.detections[label - 1].box);
    return robust_hausdorff(surface_distances(
        cut_masks(
            instances.shape, box, [&](std::int64_t v) { return lesions.holds(instances.lesion_labels[v], number); },
            [&](std::int64_t v) { return detections.holds(instances.detection_labels[v], number); }),
        spacing, host));
}

}  // namespace

void LesionwiseMatches::append(const LesionwiseMatches& other) {
    lesions.insert(lesions.end(), other.lesions.begin(), other.lesions.end());
    false_positives.insert(false_positives.end(), other.false_positives.begin(), other.false_positives.end());
}

LesionwiseMatches match_lesionwise(const Instances& instances, const std::array<double, 3>& spacing,
                                   const LesionwiseOptions& options, Stream host) {
    if (options.dilation < 0 || !(options.volume >= 0))
        throw InputError("lesion-wise Dice takes a dilation and a volume of at least 0, not " +
                         std::to_string(options.dilation) + " and " + std::to_string(options.volume));
    const std::vector<Group> groups = group_lesions(instances, options.dilation, host);
    Marks lesion_marks(instances.lesions), detection_marks(instances.detections);
    std::vector<bool> near_a_lesion(instances.detections.size());
    LesionwiseMatches matches;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const Group& group = groups[g];
        const auto number = static_cast<std::int64_t>(g);
        lesion_marks.set(group.lesions, number);
        detection_marks.set(group.detections, number);
        std::int64_t lesion_voxels = 0, detection_voxels = 0, shared = 0;
        for (const std::int32_t label : group.lesions) lesion_voxels += instances.lesions[label - 1].voxels;
        for (const std::int32_t label : group.detections) {
            detection_voxels += instances.detections[label - 1].voxels;
            near_a_lesion[label - 1] = true;
        }
        const double volume = static_cast<double>(lesion_voxels) * spacing[0] * spacing[1] * spacing[2];
        if (volume <= options.volume) continue;
        for (const InstanceOverlap& overlap : instances.overlaps)
            if (lesion_marks.holds(overlap.lesion, number)) shared += overlap.voxels;
        LesionwiseMatches::Lesion lesion{Instance{lesion_voxels}.diameter(), volume, !group.detections.empty(), 0,
                                         options.missed_hd95};
        if (lesion.found) {
            lesion.dice = 2.0 * static_cast<double>(shared) / static_cast<double>(lesion_voxels + detection_voxels);
            if (options.with_hd95)
                lesion.hd95 = group_hd95(instances, group, number, lesion_marks, detection_marks, spacing, host);
        }
        matches.lesions.push_back(lesion);
    }
    for (std::size_t d = 0; d < instances.detections.size(); ++d)
        if (!near_a_lesion[d]) matches.false_positives.push_back(instances.detections[d].diameter());
    return matches;
}

LesionwiseScore lesionwise_score(const LesionwiseMatches& matches, const LesionwiseOptions& options,
                                 const SizeRange& range) {
    LesionwiseScore score;
    for (const LesionwiseMatches::Lesion& lesion : matches.lesions) {
        if (!range.holds(lesion.diameter)) continue;
        ++(lesion.found ? score.true_positives : score.false_negatives);
        score.dice += lesion.dice;
        score.hd95 += lesion.hd95;
    }
    for (const double diameter : matches.false_positives) score.false_positives += range.holds(diameter);
    score.hd95 += static_cast<double>(score.false_positives) * options.missed_hd95;
    const auto all = static_cast<double>(score.true_positives + score.false_negatives + score.false_positives);
    if (all == 0) {
        score.dice = 1;
    } else {
        score.dice /= all;
        score.hd95 /= all;
    }
    return score;
}

}  // namespace iwseg
