#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/batch.h"
#include "data/preparation.h"
#include "engine/random.h"
#include "kernels/cut_patch.h"
#include "kernels/inverse_weights.h"

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
    int connectivity = 26;          ///< in patch mode; in volume mode the cases' own
    WeightClip weight_clip;
    Augmentation augmentation;
    std::uint64_t seed = 0xBadCafe;
};

/// Where a sample's patch is cut from, and what augmentation makes of it: axis a of the patch runs along axis axis[a] of
/// the scan, backwards where reversed[a].
struct PatchPlace {
    std::size_t scan = 0;                 ///< index into the sampler's cases
    std::array<std::int64_t, 3> first{};  ///< the box's first voxel in the scan, maybe outside
    std::array<int, 3> axis{0, 1, 2};
    std::array<bool, 3> reversed{};

    bool operator==(const PatchPlace&) const = default;
};

/// What lies inside of places.
struct PatchContent {
    std::int64_t lesion_voxels = 0, components = 0;
};

/// Draws training batches from prepared cases (docs/design.md, section 8), each case in proportion to its lesion count.
/// A batch is a pure function of (seed, step).
class PatchSampler {
  public:
    /// Throws InputError where every case's lesion count is 0, or the cases differ in channels.
    PatchSampler(std::vector<PreparedCase> cases, const SamplingOptions& options);

    /// Chooses the place of a sample of a step.
    PatchPlace place(std::uint64_t step, std::uint32_t sample) const;
    /// The places of a step's batch.
    std::vector<PatchPlace> places(std::uint64_t step) const;
    /// What a batch of these places would hold, without making it: only components that a place cuts are looked at
    /// voxel by voxel.
    PatchContent content(const std::vector<PatchPlace>& places) const;

    /// Makes the batch of a step; reuses its memory. May be called from several threads at once, each its own batch.
    void draw(std::uint64_t step, Batch& batch) const;

    const std::vector<PreparedCase>& cases() const { return cases_; }
    const SamplingOptions& options() const { return options_; }

  private:
    std::vector<PreparedCase> cases_;
    std::vector<std::uint64_t> lesions_before_;  ///< lesion counts of the cases up to and including each
    SamplingOptions options_;
};

/// The place as cut_patches takes it, for a scan (D, H, W) of that shape; its arrays are left to be set.
PatchSource source_of(const PatchPlace& place, const std::array<std::int64_t, 3>& shape,
                      const std::array<std::int64_t, 3>& patch);

/// Writes the labels of the patch at a place, components renumbered 1, 2, … in the order of their label in the scan,
/// background 0. Returns how many there are.
std::int64_t crop_components(const ComponentList& lesions, const std::array<std::int64_t, 3>& shape,
                             const PatchPlace& place, const std::array<std::int64_t, 3>& patch, std::int32_t* out);

}  // namespace iwseg
