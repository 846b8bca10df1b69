#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "data/preparation.h"
#include "training/batch.h"
#include "training/patch_place.h"
#include "training/resident_scans.h"

namespace iwseg {

/// What lies inside of places.
struct PatchContent {
    std::int64_t lesion_voxels = 0, components = 0;
};

/// Draws training batches from prepared cases (docs/design.md, section 8), each case in proportion to its lesion count.
/// Where classes are told apart, labels are those of classes, and a patch that is centred on a lesion is so on one of a
/// class that is drawn first, of those in the scan.
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
    /// The same scans, for a device to cut patches from by itself; they lie in the sampler.
    PatchCutting cutting() const;
    const SamplingOptions& options() const { return options_; }

  private:
    std::vector<PreparedCase> cases_;
    std::vector<std::uint64_t> lesions_before_;  ///< lesion counts of the cases up to and including each
    SamplingOptions options_;
};

/// Writes the labels of the patch at a place, components renumbered 1, 2, … in the order of their label in the scan,
/// background 0. Returns how many there are.
std::int64_t crop_components(const ComponentList& lesions, const std::array<std::int64_t, 3>& shape,
                             const PatchPlace& place, const std::array<std::int64_t, 3>& patch, std::int32_t* out);

/// The same as the options say it, in a patch of their size: components that are cut from the scan's, or those of the
/// patch itself. target: (D, H, W), 1 where there is lesion, else 0.
std::int64_t label_patch(const ComponentList& lesions, const std::array<std::int64_t, 3>& shape,
                         const PatchPlace& place, const SamplingOptions& options, std::uint8_t* target,
                         std::int32_t* labels);

}  // namespace iwseg
