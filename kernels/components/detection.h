#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace iwseg {

/// What counts as detected in a map of probabilities: the voxels above the threshold, without the components, of
/// 26-connectivity, that are smaller than min_volume. Records are made by the default; masks and the choice of an
/// operating point on validation scans by others.
struct DetectionRule {
    static constexpr int connectivity = 26;

    float threshold = 0.5f;  ///< in (0, 1)
    double min_volume = 0;   ///< mm³; a component of just that volume is kept, as far as spacings are exact (1e-6)

    bool keeps(std::int64_t voxels, double voxel_volume) const {
        return static_cast<double>(voxels) * voxel_volume >= min_volume * (1 - 1e-6);
    }
    bool operator==(const DetectionRule&) const = default;
};

/// Throws InputError where the threshold is not in (0, 1) or the volume is negative or not finite; the names are those
/// that the sentence gives to the two, as in "--threshold".
void require_usable(const DetectionRule& rule, const char* threshold_name, const char* min_volume_name);

/// Throws InputError where a spacing in mm is not above 0, or not finite.
void require_usable_spacing(const std::array<double, 3>& spacing);

/// mm³ of one voxel, from its spacing in mm.
double voxel_volume(const std::array<double, 3>& spacing);

/// The mask (D, H, W), 0 or 1, that the rule makes of probabilities. shape: voxels, spacing: mm a voxel, along D, H, W.
std::vector<std::uint8_t> detect(const float* probability, const std::array<std::int64_t, 3>& shape,
                                 const std::array<double, 3>& spacing, const DetectionRule& rule);

}  // namespace iwseg
