#pragma once

#include <array>
#include <cstdint>

#include "kernels/device/declare.h"
#include "kernels/device/view.h"

namespace iwseg {

/// One patch of a grid over a scan, and the larger cube that the network sees of it.
struct GridPatch {
    std::array<std::int64_t, 3> scan{};   ///< (D, H, W)
    std::array<std::int64_t, 3> start{};  ///< of the patch in the scan, voxels; negative where it begins outside
    std::int64_t patch = 1;               ///< a side of the patch
    std::int64_t padded = 1;              ///< a side of what the network sees, at least the patch
    std::int64_t margin = 0;              ///< of it before the patch
};

/// How often a grid covers each voxel: patches of side `patch`, one every `stride` voxels, along an axis that begins
/// `before` voxels into the padded scan.
struct GridCover {
    std::array<std::int64_t, 3> scan{}, before{}, patches{};
    std::int64_t patch = 1, stride = 1;
};

/// How many patches cover voxel v of the scan along an axis.
IWSEG_HOST_DEVICE constexpr std::int64_t cover_along(const GridCover& grid, int axis, std::int64_t v) {
    const std::int64_t at = v + grid.before[static_cast<unsigned>(axis)];
    const std::int64_t most = grid.patches[static_cast<unsigned>(axis)] - 1;
    const std::int64_t last = at / grid.stride < most ? at / grid.stride : most;
    const std::int64_t first = at < grid.patch ? 0 : (at - grid.patch) / grid.stride + 1;
    return last - first + 1;
}

}  // namespace iwseg

/// Prediction by a grid of patches, between scan and network (docs/design.md, section 10).
IWSEG_BACKENDS(
    /// scan: (1, C, D, H, W) f32. seen: (1, C, P, P, P) f32, P = padded: the patch, 0 outside the scan, in a margin of
    /// its channel's minimum. scratch: extract_patch_scratch_bytes.
    void extract_patch(Stream stream, View scan, const GridPatch& patch, View seen, void* scratch);
    std::int64_t extract_patch_scratch_bytes(std::int64_t channels);
    /// Adds the patch's part of `logit`, (1, 1, P, P, P) f32, and its sigmoid to the scan's sums, (D, H, W) each.
    void accumulate_patch(Stream stream, View logit, const GridPatch& patch, float* logit_sum, float* probability_sum);
    /// Divides both sums by how many patches cover each voxel.
    void average_patches(Stream stream, const GridCover& grid, float* logit_sum, float* probability_sum);)
