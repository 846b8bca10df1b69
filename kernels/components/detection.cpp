#include "kernels/components/detection.h"

#include <cmath>
#include <string>

#include "base/error.h"
#include "base/number_text.h"
#include "kernels/components/components_of.h"

namespace iwseg {
namespace {

void remove_small(std::vector<std::uint8_t>& mask, const Extent& shape, double volume, const DetectionRule& rule) {
    const auto [labels, count] = components_of(mask, shape, DetectionRule::connectivity);
    std::vector<std::int64_t> voxels(static_cast<std::size_t>(count) + 1);
    for (const std::int32_t label : labels) ++voxels[label];
    for (std::size_t v = 0; v < mask.size(); ++v)
        if (labels[v] != 0 && !rule.keeps(voxels[labels[v]], volume)) mask[v] = 0;
}

}  // namespace

void require_usable(const DetectionRule& rule, const char* threshold_name, const char* min_volume_name) {
    if (!(rule.threshold > 0 && rule.threshold < 1))
        throw InputError(std::string(threshold_name) + " " + number_text(rule.threshold) +
                         " is not usable: a probability above 0 and below 1 was expected");
    if (!(rule.min_volume >= 0 && std::isfinite(rule.min_volume)))
        throw InputError(std::string(min_volume_name) + " " + number_text(rule.min_volume) +
                         " is not usable: a volume in mm³ of at least 0 was expected");
}

void require_usable_spacing(const std::array<double, 3>& spacing) {
    for (const double mm : spacing)
        if (!(mm > 0 && std::isfinite(mm)))
            throw InputError("a spacing of " + number_text(mm) + " mm is not usable: it must be above 0");
}

double voxel_volume(const std::array<double, 3>& spacing) {
    return spacing[0] * spacing[1] * spacing[2];
}

std::vector<std::uint8_t> detect(const float* probability, const std::array<std::int64_t, 3>& shape,
                                 const std::array<double, 3>& spacing, const DetectionRule& rule) {
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
    for (std::size_t v = 0; v < mask.size(); ++v) mask[v] = probability[v] > rule.threshold;
    if (!rule.keeps(1, voxel_volume(spacing))) remove_small(mask, shape, voxel_volume(spacing), rule);
    return mask;
}

}  // namespace iwseg
