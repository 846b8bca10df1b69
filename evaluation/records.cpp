#include "evaluation/records.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "evaluation/instances.h"

namespace iwseg {
namespace {

constexpr double kInfiniteLogit = std::numeric_limits<double>::infinity();

/// How sure the network is of an object.
struct Confidence {
    double max = 1, median = 1, q95 = 1, logit = kInfiniteLogit;
};

/// The element of rank `rank` (from 0), which may fall between two: interpolated linearly, as numpy does.
double ranked(std::vector<float>& values, double rank) {
    const auto low = static_cast<std::size_t>(rank);
    std::nth_element(values.begin(), values.begin() + low, values.end());
    const double below = values[low], share = rank - static_cast<double>(low);
    if (share == 0) return below;
    return below + share * (*std::min_element(values.begin() + low + 1, values.end()) - below);
}

Confidence confidence_of(std::vector<float>& probabilities, double logit) {
    const double last = static_cast<double>(probabilities.size() - 1);
    Confidence confidence;
    confidence.max = *std::max_element(probabilities.begin(), probabilities.end());
    confidence.median = static_cast<float>(ranked(probabilities, last / 2));  // numpy's median of float32 is float32
    confidence.q95 = ranked(probabilities, last * 0.95);
    confidence.logit = logit;
    return confidence;
}

/// Of each detection; [0] unused.
std::vector<Confidence> confidences(const ScanToEvaluate& scan, const Instances& instances) {
    const std::size_t count = instances.detections.size() + 1;
    std::vector<std::vector<float>> probabilities(count);
    std::vector<double> logits(count, -kInfiniteLogit);
    for (std::size_t c = 1; c < count; ++c) probabilities[c].reserve(instances.detections[c - 1].voxels);
    for (std::size_t v = 0; v < instances.detection_labels.size(); ++v)
        if (const std::int32_t c = instances.detection_labels[v]) {
            probabilities[c].push_back(scan.probability[v]);
            const float logit = scan.logit ? scan.logit[v] : logit_of(scan.probability[v]);
            logits[c] = std::max(logits[c], static_cast<double>(logit));
        }
    std::vector<Confidence> result(count);
    for (std::size_t c = 1; c < count; ++c) result[c] = confidence_of(probabilities[c], logits[c]);
    return result;
}

struct Hit {
    std::int32_t object = 0;
    double dice = 0;
};

/// The best hit of each object on either side; of equals, the first. [0] unused.
struct Hits {
    std::vector<Hit> of_lesion, of_detection;
};

Hits best_hits(const Instances& instances) {
    Hits hits{std::vector<Hit>(instances.lesions.size() + 1), std::vector<Hit>(instances.detections.size() + 1)};
    for (const auto& [lesion, detection, voxels] : instances.overlaps) {
        const double dice =
            2.0 * static_cast<double>(voxels) /
            static_cast<double>(instances.lesions[lesion - 1].voxels + instances.detections[detection - 1].voxels);
        if (dice > hits.of_lesion[lesion].dice) hits.of_lesion[lesion] = {detection, dice};
        if (dice > hits.of_detection[detection].dice) hits.of_detection[detection] = {lesion, dice};
    }
    return hits;
}

/// One side of the records of a scan.
struct Side {
    bool is_lesion = false;
    double mm = 0;  ///< edge of the cube of a voxel's volume

    Record record(std::int32_t number, const Instance& object, const Hit& hit, const Confidence& of_hit) const;
};

Record Side::record(std::int32_t number, const Instance& object, const Hit& hit, const Confidence& of_hit) const {
    Record record;
    record.is_tum = is_lesion;
    record.obj = (is_lesion ? "tum_" : "pred_") + std::to_string(number);
    record.diameter = object.diameter();
    record.diameter_mm = object.diameter() * mm;
    record.hit_obj = (is_lesion ? "pred_" : "tum_") + (hit.object ? std::to_string(hit.object) : "None");
    record.hit_dice = hit.dice;
    record.hit_logit = -kInfiniteLogit;
    if (hit.object) {
        record.hit_max = record.hit_stat = of_hit.max;
        record.hit_median = of_hit.median;
        record.hit_q95 = of_hit.q95;
        record.hit_logit = of_hit.logit;
    }
    return record;
}

}  // namespace

float logit_of(float probability) {
    constexpr double least = 0x1p-24;
    const double p = std::clamp(static_cast<double>(probability), least, 1 - least);
    return static_cast<float>(std::log(p / (1 - p)));
}

std::vector<Record> lesion_records(const ScanToEvaluate& scan) {
    return lesion_records(scan, find_instances(scan));
}

std::vector<Record> lesion_records(const ScanToEvaluate& scan, const Instances& instances) {
    const std::vector<Confidence> sure = confidences(scan, instances);
    const Hits hits = best_hits(instances);
    const double mm = std::cbrt(scan.spacing[0] * scan.spacing[1] * scan.spacing[2]);
    const Side target{true, mm}, prediction{false, mm};
    std::vector<Record> records;
    const auto count = [](const std::vector<Instance>& objects) { return static_cast<std::int32_t>(objects.size()); };
    for (std::int32_t c = 1; c <= count(instances.lesions); ++c) {
        const Hit& hit = hits.of_lesion[c];
        records.push_back(target.record(c, instances.lesions[c - 1], hit, sure[hit.object]));
        records.back().self_stat = 1;
        records.back().self_logit = kInfiniteLogit;
    }
    for (std::int32_t c = 1; c <= count(instances.detections); ++c) {
        records.push_back(prediction.record(c, instances.detections[c - 1], hits.of_detection[c], Confidence{}));
        records.back().self_stat = sure[c].max;
        records.back().self_logit = sure[c].logit;
    }
    return records;
}

}  // namespace iwseg
