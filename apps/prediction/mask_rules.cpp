#include "apps/prediction/mask_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace iwseg {
namespace {

DetectionRule together(const std::vector<OperatingPoint>& points) {
    DetectionRule rule;
    if (points.empty()) return rule;
    double sum = 0;
    std::vector<double> volumes;
    for (const OperatingPoint& point : points) {
        sum += point.rule.threshold;
        volumes.push_back(point.rule.min_volume);
    }
    rule.threshold = static_cast<float>(sum / static_cast<double>(points.size()));
    std::sort(volumes.begin(), volumes.end());
    rule.min_volume = (volumes[(volumes.size() - 1) / 2] + volumes[volumes.size() / 2]) / 2;
    return rule;
}

DetectionRule with_asked(DetectionRule rule, const MaskOptions& options) {
    if (options.threshold) rule.threshold = static_cast<float>(*options.threshold);
    if (options.min_volume) rule.min_volume = *options.min_volume;
    return rule;
}

}  // namespace

MaskRules::MaskRules(const std::vector<std::optional<OperatingPoint>>& points, MaskOptions options)
    : options_(std::move(options)), networks_(points.size()) {
    for (const auto& point : points)
        if (point) points_.push_back(*point);
    if (points_.size() < networks_) points_.clear();
    require_usable(with_asked({}, options_), "--threshold", "--min-volume");
}

bool MaskRules::on_test_scans(const std::string& case_name) const {
    return std::any_of(points_.begin(), points_.end(), [](const auto& point) { return point.on_test_scans; }) &&
           std::find(options_.own_test_scans.begin(), options_.own_test_scans.end(), case_name) !=
               options_.own_test_scans.end();
}

DetectionRule MaskRules::of(const std::string& case_name) const {
    return with_asked(on_test_scans(case_name) ? DetectionRule{} : together(points_), options_);
}

std::string MaskRules::sentence() const {
    const std::string rule = rule_text(with_asked(together(points_), options_));
    if (options_.threshold && options_.min_volume) return rule + ", as asked";
    const std::string asked = options_.threshold || options_.min_volume ? " (one of the two as asked)" : "";
    if (points_.empty()) return rule + asked;
    const std::string from = points_.size() == 1
                                 ? choice_text(points_.front())
                                 : fmt::format("mean threshold and median volume of {} networks", points_.size());
    std::string text = fmt::format("{}{},\n         {}", rule, asked, from);
    const bool own = std::any_of(options_.own_test_scans.begin(), options_.own_test_scans.end(),
                                 [&](const std::string& name) { return on_test_scans(name); });
    if (own)
        text += fmt::format("\n         of the run's test scans, on which it was chosen, instead: {}",
                            rule_text(with_asked({}, options_)));
    return text;
}

}  // namespace iwseg
