#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/context.h"
#include "engine/device_memory.h"
#include "training/component_list.h"
#include "training/patch_place.h"

namespace iwseg {

/// A scan to train on, in host memory of someone else.
struct TrainingScan {
    std::array<std::int64_t, 3> shape{};  ///< (D, H, W)
    std::int64_t channels = 0;
    const float* image = nullptr;    ///< (C, D, H, W)
    const float* minimum = nullptr;  ///< of each channel: what patches are padded with
    const ComponentList* lesions = nullptr;
    const std::uint8_t* ignored = nullptr;  ///< (D, H, W), 1 where the truth is unknown; null where that is nowhere

    std::int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }
};

/// What patches are cut from, and how.
struct PatchCutting {
    std::vector<TrainingScan> scans;
    SamplingOptions sampling;
};

/// Scans to train on in the memory of a device: image (C, D, H, W) f32 and component labels (D, H, W) i32 of each,
/// uploaded once, for cut_patches.
class ResidentScans {
  public:
    /// Waits until everything is uploaded. Throws InputError where the device has less memory than bytes_needed.
    ResidentScans(const Context& context, const std::vector<TrainingScan>& scans);

    static std::int64_t bytes_needed(const std::vector<TrainingScan>& scans);
    std::int64_t bytes() const { return memory_.bytes(); }
    /// One more than any label.
    std::int64_t label_bound() const { return label_bound_; }
    PatchSource source(const PatchPlace& place, const std::array<std::int64_t, 3>& patch) const;

  private:
    struct Scan {
        std::array<std::int64_t, 3> shape;
        const float* image;
        const std::int32_t* labels;
        const float* padding;
    };

    DeviceMemory memory_;
    std::vector<Scan> scans_;
    std::int64_t label_bound_ = 1;
};

}  // namespace iwseg
