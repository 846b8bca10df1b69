#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/prediction/operating_point.h"
#include "kernels/components/detection.h"

namespace iwseg {

/// What a user wants of masks beside what the weights say.
struct MaskOptions {
    std::optional<double> threshold = {},
                          min_volume = {};  ///< in place of the chosen ones; --threshold, --min-volume (mm³)
    /// Test scans of a network's training, found on the data itself and not by their names alone: a point that was
    /// chosen on test scans does not make their masks.
    std::vector<std::string> own_test_scans = {};
};

/// By which rule the mask of which scan is made: the operating point of the weights where they have one, else
/// probability > 0.5. Of several networks, whose probabilities are averaged, the mean threshold and the median volume;
/// where one of them has no point, probability > 0.5.
class MaskRules {
  public:
    /// points: one a network. Throws InputError where a value that was asked for is out of range.
    MaskRules(const std::vector<std::optional<OperatingPoint>>& points, MaskOptions options);

    DetectionRule of(const std::string& case_name) const;
    /// For the terminal: what masks are made by, and where that comes from.
    std::string sentence() const;

  private:
    bool on_test_scans(const std::string& case_name) const;

    MaskOptions options_;
    std::vector<OperatingPoint> points_;  ///< of all networks, or none
    std::size_t networks_;
};

}  // namespace iwseg
