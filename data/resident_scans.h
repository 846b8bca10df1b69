#pragma once

#include <cstdint>
#include <vector>

#include "data/sampling.h"
#include "engine/context.h"
#include "engine/device_memory.h"

namespace iwseg {

/// Scans to train on in the memory of a device: image (C, D, H, W) f32 and component labels (D, H, W) i32 of each, uploaded
/// once, for cut_patches.
class ResidentScans {
  public:
    /// Waits until everything is uploaded. Throws InputError where the device has less memory than bytes_needed.
    ResidentScans(const Context& context, const std::vector<PreparedCase>& cases);

    static std::int64_t bytes_needed(const std::vector<PreparedCase>& cases);
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
