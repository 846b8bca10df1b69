#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/components/inverse_weights.h"
#include "kernels/patch/cut_patch.h"

namespace iwseg {

/// Where a patch's components come from. volume: those of the whole scan, cut by the patch (the published method).
/// patch: those of the patch itself, after augmentation.
enum class ComponentMode : std::uint8_t { volume, patch };

/// Exact changes of a patch, each drawn anew for every sample.
struct Augmentation {
    bool flip = false;    ///< along each axis with probability 1/2
    bool rotate = false;  ///< 0 to 3 quarter turns in each plane where the patch is square

    bool operator==(const Augmentation&) const = default;
};

struct SamplingOptions {
    std::array<std::int64_t, 3> patch{128, 128, 128};
    std::int64_t batch = 2;
    double nonzero_fraction = 0.5;  ///< of patches centred on a lesion voxel
    ComponentMode components = ComponentMode::volume;
    int connectivity = 26;  ///< in patch mode; in volume mode the cases' own
    WeightClip weight_clip;
    Augmentation augmentation;
    std::uint64_t seed = 0xBadCafe;
};

/// Where a sample's patch is cut from, and what augmentation makes of it: axis a of the patch runs along axis axis[a]
/// of the scan, backwards where reversed[a].
struct PatchPlace {
    std::size_t scan = 0;                 ///< index into the sampler's cases
    std::array<std::int64_t, 3> first{};  ///< the box's first voxel in the scan, maybe outside
    std::array<int, 3> axis{0, 1, 2};
    std::array<bool, 3> reversed{};

    bool operator==(const PatchPlace&) const = default;
};

/// The place as cut_patches takes it, for a scan (D, H, W) of that shape; its arrays are left to be set.
PatchSource source_of(const PatchPlace& place, const std::array<std::int64_t, 3>& shape,
                      const std::array<std::int64_t, 3>& patch);

}  // namespace iwseg
