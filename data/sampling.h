#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/batch.h"
#include "data/preparation.h"
#include "engine/random.h"
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

/// Draws training batches from prepared cases (docs/design.md, section 8). A batch is a pure function of (seed, step).
class PatchSampler {
  public:
    /// Throws InputError where no case has a lesion, or the cases differ in channels.
    PatchSampler(std::vector<PreparedCase> cases, const SamplingOptions& options);

    /// Makes the batch of a step; reuses its memory. May be called from several threads at once, each its own batch.
    void draw(std::uint64_t step, Batch& batch) const;

    const std::vector<PreparedCase>& cases() const { return cases_; }
    const SamplingOptions& options() const { return options_; }

  private:
    struct Choice {
        const PreparedCase* scan;
        std::array<std::int64_t, 3> centre;
    };
    Choice choose(std::uint64_t step, std::uint32_t sample) const;

    std::vector<PreparedCase> cases_;
    std::vector<std::uint64_t> lesions_before_;  ///< lesions of the cases up to and including each
    SamplingOptions options_;
};

/// Copies the patch around centre (first voxel: centre - patch / 2) of one channel; outside the scan: padding.
void crop(const float* volume, const std::array<std::int64_t, 3>& shape, const std::array<std::int64_t, 3>& centre,
          const std::array<std::int64_t, 3>& patch, float padding, float* out);

/// Writes the patch's labels, components renumbered 1, 2, … in the order of their label in the scan, background 0.
/// Returns how many there are.
std::int64_t crop_components(const ComponentList& lesions, const std::array<std::int64_t, 3>& shape,
                             const std::array<std::int64_t, 3>& centre, const std::array<std::int64_t, 3>& patch,
                             std::int32_t* out);

}  // namespace iwseg
