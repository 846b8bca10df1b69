#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evaluation/records.h"
#include "kernels/components/detection.h"
#include "kernels/device/declare.h"

namespace iwseg {

/// The rule by which a network's masks are made, and how well it did on the scans that it was chosen on.
struct OperatingPoint {
    DetectionRule rule = {};
    std::int64_t step = 0;  ///< of the training whose weights it was chosen for
    std::int64_t scans = 0, lesions = 0, found = 0, false_positives = 0;
    double dice = 0;             ///< mean over scans with a lesion: of an empty mask of others it would be 1
    bool on_test_scans = false;  ///< one of the scans is to be tested on as well
    /// Where so, all that are to be tested on: bytes of the image files by name, so that they are known again.
    std::map<std::string, std::int64_t> test_scans = {};

    double f1() const;     ///< 2 found / (lesions + found + false positives): of lesions, all scans together
    double score() const;  ///< (f1 + dice) / 2: the larger, the better
    bool operator==(const OperatingPoint&) const = default;
};

/// "probability > 0.35, components of at least 10 mm³".
std::string rule_text(const DetectionRule& rule);
/// "chosen on 3 validation scans with 17 lesions: 15 found, 2 false positives, Dice 0.712".
std::string choice_text(const OperatingPoint& point);

/// As JSON, on one line: the run's operating_point.json, and under "operating_point" in the metadata of weights.
std::string operating_point_json(const OperatingPoint& point);
/// origin stands for the text in messages. Throws InputError where it is no operating point or its rule is not usable.
OperatingPoint parse_operating_point(const std::string& json, const std::string& origin);

/// Chooses the rule on predicted scans with targets: of those among thresholds() x min_volumes() by which a lesion is
/// found that of the largest score; of equal ones the threshold nearest to 0.5, then the smallest volume. What is found
/// and what a false positive says the rule of evaluation/hit_rule.h, of the detections that are kept. Holds sums over
/// scans, whatever their number and size.
class OperatingPointSearch {
  public:
    /// From 0.01 to 0.999, rising: every 0.05 in the middle, denser where sigmoids saturate.
    static const std::vector<float>& thresholds();
    /// mm³, from 0 to 1000, rising.
    static const std::vector<double>& min_volumes();

    OperatingPointSearch();

    /// spacing: mm a voxel along D, H, W. host: the threads that compute; none: the calling one. The scan's logits are
    /// not read.
    void add(const ScanToEvaluate& scan, const std::array<double, 3>& spacing, Stream host = {});

    std::int64_t lesions() const;  ///< of the scans so far

    /// None where no lesion is found by any rule, be it that the scans have none: nothing tells rules apart then but
    /// noise.
    std::optional<OperatingPoint> best() const;

  private:
    std::vector<OperatingPoint> candidates_;  ///< by threshold, then volume; dice holds the sum over scans
    std::int64_t scans_with_lesions_ = 0;
};

}  // namespace iwseg
