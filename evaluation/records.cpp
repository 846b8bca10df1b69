#include "evaluation/records.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/components.h"

namespace iwseg {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The components of one side of the comparison: 1 to count, voxels[0] unused.
struct Components {
    std::vector<std::int32_t> labels;
    std::vector<std::int64_t> voxels;

    std::int32_t count() const { return static_cast<std::int32_t>(voxels.size()) - 1; }
};

Components find_components(const ScanToJudge& scan, std::vector<std::uint8_t>& mask) {
    const Shape shape{1, 1, scan.d, scan.h, scan.w};
    Components found;
    found.labels.resize(mask.size());
    std::int32_t count = 0;
    cpu::label_components({}, View{mask.data(), shape, Type::u8, Layout::ncdhw},
                          View{found.labels.data(), shape, Type::i32, Layout::ncdhw}, &count, 26, nullptr);
    found.voxels.assign(static_cast<std::size_t>(count) + 1, 0);
    for (const std::int32_t label : found.labels) found.voxels[label] += label != 0;
    return found;
}

/// How sure the network is of an object.
struct Confidence {
    double max = 1, median = 1, q95 = 1, logit = infinity;
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
std::vector<Confidence> confidences(const ScanToJudge& scan, const Components& detections) {
    std::vector<std::vector<float>> probabilities(detections.voxels.size());
    std::vector<double> logits(detections.voxels.size(), -infinity);
    for (std::int32_t c = 1; c <= detections.count(); ++c) probabilities[c].reserve(detections.voxels[c]);
    for (std::size_t v = 0; v < detections.labels.size(); ++v)
        if (const std::int32_t c = detections.labels[v]) {
            probabilities[c].push_back(scan.probability[v]);
            logits[c] = std::max(logits[c], static_cast<double>(scan.logit[v]));
        }
    std::vector<Confidence> result(detections.voxels.size());
    for (std::int32_t c = 1; c <= detections.count(); ++c) result[c] = confidence_of(probabilities[c], logits[c]);
    return result;
}

struct Hit {
    std::int32_t object = 0;
    double dice = 0;
};

/// The best hit of each object on either side; of equals, the first.
struct Hits {
    std::vector<Hit> of_lesion, of_detection;
};

Hits best_hits(const Components& lesions, const Components& detections) {
    std::vector<std::uint64_t> pairs;
    for (std::size_t v = 0; v < lesions.labels.size(); ++v)
        if (lesions.labels[v] && detections.labels[v])
            pairs.push_back(static_cast<std::uint64_t>(lesions.labels[v]) << 32 | detections.labels[v]);
    std::sort(pairs.begin(), pairs.end());
    Hits hits{std::vector<Hit>(lesions.voxels.size()), std::vector<Hit>(detections.voxels.size())};
    for (std::size_t begin = 0, end = 0; begin < pairs.size(); begin = end) {
        while (end < pairs.size() && pairs[end] == pairs[begin]) ++end;
        const auto lesion = static_cast<std::int32_t>(pairs[begin] >> 32);
        const auto detection = static_cast<std::int32_t>(pairs[begin]);
        const double dice = 2.0 * static_cast<double>(end - begin) /
                            static_cast<double>(lesions.voxels[lesion] + detections.voxels[detection]);
        if (dice > hits.of_lesion[lesion].dice) hits.of_lesion[lesion] = {detection, dice};
        if (dice > hits.of_detection[detection].dice) hits.of_detection[detection] = {lesion, dice};
    }
    return hits;
}

Record make_record(bool is_lesion, std::int32_t number, std::int64_t voxels, const Hit& hit, const Confidence& of_hit) {
    Record record;
    record.is_tum = is_lesion;
    record.obj = (is_lesion ? "tum_" : "pred_") + std::to_string(number);
    record.diameter = std::cbrt(6.0 * static_cast<double>(voxels) / std::numbers::pi);
    record.hit_obj = (is_lesion ? "pred_" : "tum_") + (hit.object ? std::to_string(hit.object) : "None");
    record.hit_dice = hit.dice;
    record.hit_logit = -infinity;
    if (hit.object) {
        record.hit_max = record.hit_stat = of_hit.max;
        record.hit_median = of_hit.median;
        record.hit_q95 = of_hit.q95;
        record.hit_logit = of_hit.logit;
    }
    return record;
}

}  // namespace

std::vector<Record> lesion_records(const ScanToJudge& scan) {
    const std::int64_t voxels = scan.d * scan.h * scan.w;
    std::vector<std::uint8_t> mask(scan.target, scan.target + voxels);
    const Components lesions = find_components(scan, mask);
    for (std::int64_t v = 0; v < voxels; ++v) mask[v] = scan.probability[v] > 0.5f;
    const Components detections = find_components(scan, mask);
    const std::vector<Confidence> sure = confidences(scan, detections);
    const Hits hits = best_hits(lesions, detections);

    std::vector<Record> records;
    for (std::int32_t c = 1; c <= lesions.count(); ++c) {
        const Hit& hit = hits.of_lesion[c];
        records.push_back(make_record(true, c, lesions.voxels[c], hit, sure[hit.object]));
        records.back().self_stat = 1;
        records.back().self_logit = infinity;
    }
    for (std::int32_t c = 1; c <= detections.count(); ++c) {
        records.push_back(make_record(false, c, detections.voxels[c], hits.of_detection[c], Confidence{}));
        records.back().self_stat = sure[c].max;
        records.back().self_logit = sure[c].logit;
    }
    return records;
}

}  // namespace iwseg
