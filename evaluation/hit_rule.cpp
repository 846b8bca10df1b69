#include "evaluation/hit_rule.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace iwseg {
namespace {

constexpr double kRounding = 1e-9;  // of shares that are equal to a bound but for it

double cube(double value) {
    return value * value * value;
}

}  // namespace

bool HitRule::hits(double lesion, double detection, double shared) const {
    return shared > 0 && shared >= (iou - kRounding) * (lesion + detection - shared);
}

bool HitRule::is_part(double detection, double shared) const {
    return shared > 0 && shared >= (inside - kRounding) * detection;
}

std::int64_t InstanceOutcomes::found() const {
    return std::count(lesions.begin(), lesions.end(), Outcome::found);
}

std::int64_t InstanceOutcomes::false_positives() const {
    return std::count(detections.begin(), detections.end(), Outcome::false_positive);
}

InstanceOutcomes outcomes_of(const Instances& instances, const std::function<bool(const Instance&)>& keeps,
                             const HitRule& rule) {
    InstanceOutcomes outcomes;
    outcomes.lesions.assign(instances.lesions.size(), Outcome::missed);
    for (const Instance& detection : instances.detections)
        outcomes.detections.push_back(!keeps || keeps(detection) ? Outcome::false_positive : Outcome::dropped);
    std::vector<double> best_dice(instances.detections.size());  // of the lesion that a detection resembles most
    for (const InstanceOverlap& pair : instances.overlaps) {
        Outcome& outcome = outcomes.detections[pair.detection - 1];
        if (outcome == Outcome::dropped) continue;
        const auto lesion = static_cast<double>(instances.lesions[pair.lesion - 1].voxels),
                   detection = static_cast<double>(instances.detections[pair.detection - 1].voxels),
                   shared = static_cast<double>(pair.voxels);
        if (rule.hits(lesion, detection, shared)) {
            outcomes.lesions[pair.lesion - 1] = Outcome::found;
            outcome = Outcome::hit;
        }
        const double dice = 2 * shared / (lesion + detection);
        if (dice <= best_dice[pair.detection - 1]) continue;
        best_dice[pair.detection - 1] = dice;
        if (outcome != Outcome::hit)
            outcome = rule.is_part(detection, shared) ? Outcome::part : Outcome::false_positive;
    }
    return outcomes;
}

std::vector<Outcome> outcomes_of(const std::vector<Record>& records, const HitRule& rule) {
    std::unordered_map<std::string_view, double> lesion_sizes;  // in balls of diameter 1
    for (const Record& record : records)
        if (record.is_tum) lesion_sizes.emplace(record.obj, cube(record.diameter));
    std::vector<Outcome> outcomes;
    outcomes.reserve(records.size());
    for (const Record& record : records) {
        // In parts of the sum of both volumes: shared is Dice / 2.
        const bool hits = rule.hits(1, 0, record.hit_dice / 2);
        if (record.is_tum) {
            outcomes.push_back(hits ? Outcome::found : Outcome::missed);
            continue;
        }
        const auto lesion = lesion_sizes.find(record.hit_obj);
        const double own = cube(record.diameter);
        const bool part =
            lesion != lesion_sizes.end() && rule.is_part(own, record.hit_dice / 2 * (own + lesion->second));
        outcomes.push_back(hits ? Outcome::hit : part ? Outcome::part : Outcome::false_positive);
    }
    return outcomes;
}

}  // namespace iwseg
