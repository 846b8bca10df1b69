#include "apps/prediction/operating_point.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "evaluation/hit_rule.h"
#include "evaluation/instances.h"
#include "evaluation/metrics.h"
#include "models/prediction_settings.h"

namespace iwseg {
namespace {

/// The part of a scan that holds its lesions and all that any threshold may detect.
class Crop {
  public:
    Crop(const ScanToEvaluate& scan, float lowest_threshold) {
        Box box{{scan.d, scan.h, scan.w}, {-1, -1, -1}};
        for (std::int64_t v = 0; v < scan.d * scan.h * scan.w; ++v)
            if (scan.target[v] || scan.probability[v] > lowest_threshold) {
                const std::array<std::int64_t, 3> at{v / (scan.h * scan.w), v / scan.w % scan.h, v % scan.w};
                box.include({at, at});
            }
        if (box.last[0] < 0) return;
        shape_ = box.shape();
        const auto voxels = static_cast<std::size_t>(shape_[0] * shape_[1] * shape_[2]);
        target_.reserve(voxels);
        probability_.reserve(voxels);
        if (scan.ignored) ignored_.reserve(voxels);
        for (std::int64_t d = box.first[0]; d <= box.last[0]; ++d)
            for (std::int64_t h = box.first[1]; h <= box.last[1]; ++h) {
                const std::int64_t row = (d * scan.h + h) * scan.w + box.first[2];
                target_.insert(target_.end(), scan.target + row, scan.target + row + shape_[2]);
                probability_.insert(probability_.end(), scan.probability + row, scan.probability + row + shape_[2]);
                if (scan.ignored) ignored_.insert(ignored_.end(), scan.ignored + row, scan.ignored + row + shape_[2]);
            }
    }

    ScanToEvaluate scan() const {
        const std::uint8_t* ignored = ignored_.empty() ? nullptr : ignored_.data();
        return {shape_[0], shape_[1], shape_[2], target_.data(), probability_.data(), nullptr, ignored};
    }

  private:
    std::array<std::int64_t, 3> shape_{};
    std::vector<std::uint8_t> target_, ignored_;
    std::vector<float> probability_;
};

/// Adds what the detections that the rule keeps do in one scan.
void count(const Instances& instances, double voxel, OperatingPoint& sums) {
    const auto keeps = [&](const Instance& detection) { return sums.rule.keeps(detection.voxels, voxel); };
    const InstanceOutcomes outcomes = outcomes_of(instances, keeps);
    Overlap overlap{0, instances.lesion_voxels(), 0};
    for (const InstanceOverlap& pair : instances.overlaps)
        if (keeps(instances.detections[pair.detection - 1])) overlap.both += pair.voxels;
    for (const Instance& detection : instances.detections)
        if (keeps(detection)) overlap.prediction += detection.voxels;
    ++sums.scans;
    sums.lesions += static_cast<std::int64_t>(instances.lesions.size());
    sums.found += outcomes.found();
    sums.false_positives += outcomes.false_positives();
    if (!instances.lesions.empty()) sums.dice += overlap.dice();
}

}  // namespace

double OperatingPoint::f1() const {
    const auto all = static_cast<double>(lesions + found + false_positives);
    return all > 0 ? 2 * static_cast<double>(found) / all : 0;
}

double OperatingPoint::score() const {
    return (f1() + dice) / 2;
}

std::string rule_text(const DetectionRule& rule) {
    const std::string threshold = fmt::format("probability > {:.4g}", rule.threshold);
    return rule.min_volume > 0 ? fmt::format("{}, components of at least {:.4g} mm³", threshold, rule.min_volume)
                               : threshold;
}

std::string choice_text(const OperatingPoint& point) {
    const auto many = [](std::int64_t count, const char* what) {
        return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
    };
    return fmt::format("chosen on {} with {}: {} found, {}, Dice {:.3f}",
                       many(point.scans, point.on_test_scans ? "test scan" : "validation scan"),
                       many(point.lesions, "lesion"), point.found, many(point.false_positives, "false positive"),
                       point.dice);
}

std::string operating_point_json(const OperatingPoint& point) {
    nlohmann::json json{{"threshold", std::stod(fmt::format("{}", point.rule.threshold))},
                        {"min_volume", point.rule.min_volume},
                        {"step", point.step},
                        {"scans", point.scans},
                        {"lesions", point.lesions},
                        {"found", point.found},
                        {"false_positives", point.false_positives},
                        {"dice", point.dice},
                        {"f1", point.f1()},
                        {"on_test_scans", point.on_test_scans}};
    if (point.on_test_scans) json["test_scans"] = point.test_scans;
    return json.dump();
}

OperatingPoint parse_operating_point(const std::string& text, const std::string& origin) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    OperatingPoint point{.rule = parse_detection_rule(text, origin)};
    try {
        // Of a rule alone, which is all that predicting needs, the rest is not known.
        const auto read = [&](const char* key, auto& value) {
            if (json.contains(key)) json[key].get_to(value);
        };
        read("step", point.step);
        read("scans", point.scans);
        read("lesions", point.lesions);
        read("found", point.found);
        read("false_positives", point.false_positives);
        read("dice", point.dice);
        read("on_test_scans", point.on_test_scans);
        read("test_scans", point.test_scans);
    } catch (const nlohmann::json::exception&) {
        throw InputError(origin + " is not an operating point: a key beside threshold and min_volume has another type");
    }
    return point;
}

const std::vector<float>& OperatingPointSearch::thresholds() {
    static const std::vector<float> values{0.01f, 0.02f, 0.05f, 0.1f,  0.15f, 0.2f,   0.25f, 0.3f,  0.35f,
                                           0.4f,  0.45f, 0.5f,  0.55f, 0.6f,  0.65f,  0.7f,  0.75f, 0.8f,
                                           0.85f, 0.9f,  0.95f, 0.98f, 0.99f, 0.995f, 0.999f};
    return values;
}

const std::vector<double>& OperatingPointSearch::min_volumes() {
    static const std::vector<double> values{0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
    return values;
}

OperatingPointSearch::OperatingPointSearch() {
    for (const float threshold : thresholds())
        for (const double volume : min_volumes()) candidates_.push_back({.rule = {threshold, volume}});
}

void OperatingPointSearch::add(const ScanToEvaluate& scan, const std::array<double, 3>& spacing, Stream host) {
    const Crop crop(scan, thresholds().front());
    const double voxel = voxel_volume(spacing);
    std::size_t candidate = 0;
    for (const float threshold : thresholds()) {
        const Instances instances = find_instances(crop.scan(), threshold, host);
        if (candidate == 0) scans_with_lesions_ += !instances.lesions.empty();
        for (std::size_t i = 0; i < min_volumes().size(); ++i) count(instances, voxel, candidates_[candidate++]);
    }
}

std::int64_t OperatingPointSearch::lesions() const {
    return candidates_.front().lesions;
}

std::optional<OperatingPoint> OperatingPointSearch::best() const {
    std::optional<OperatingPoint> best;
    const auto off = [](const OperatingPoint& point) { return std::abs(point.rule.threshold - 0.5f); };
    for (OperatingPoint point : candidates_) {
        if (point.found == 0) continue;
        point.dice /= static_cast<double>(scans_with_lesions_);
        // Sums of the same terms in the same order: equal scores are equal bits, but for the means' last one.
        const double gain = best ? point.score() - best->score() : 1;
        if (gain > 1e-12 || (gain > -1e-12 && off(point) < off(*best))) best = point;
    }
    return best;
}

}  // namespace iwseg
