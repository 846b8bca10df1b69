#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "evaluation/instances.h"

namespace iwseg {

/// Two masks (D, H, W) over the same box, W fastest, each voxel 0 or 1.
struct MaskPair {
    std::array<std::int64_t, 3> shape{};
    std::vector<std::uint8_t> target, prediction;
};

/// Cuts a box out of a scan of that shape: target(v) and prediction(v) say which voxels of the scan, (d * H + h) * W +
/// w, are inside.
template <class Target, class Prediction>
MaskPair cut_masks(const std::array<std::int64_t, 3>& scan, const Box& box, Target&& target, Prediction&& prediction) {
    MaskPair masks{box.shape(), {}, {}};
    masks.target.resize(masks.shape[0] * masks.shape[1] * masks.shape[2]);
    masks.prediction.resize(masks.target.size());
    std::size_t at = 0;
    for (std::int64_t d = box.first[0]; d <= box.last[0]; ++d)
        for (std::int64_t h = box.first[1]; h <= box.last[1]; ++h) {
            const std::int64_t row = (d * scan[1] + h) * scan[2];
            for (std::int64_t w = box.first[2]; w <= box.last[2]; ++w, ++at) {
                masks.target[at] = target(row + w);
                masks.prediction[at] = prediction(row + w);
            }
        }
    return masks;
}

/// A piece of one surface: how far the other surface is, and how large the piece is.
struct Surfel {
    double distance = 0;  ///< mm; infinity where there is no other surface
    double area = 0;      ///< mm²
};

/// Surfaces as DeepMind's package surface-distance defines them: a surface passes through every corner between eight
/// voxels (a 2 x 2 x 2 neighbourhood, outside of the box being 0) that are not all equal, with the area that the
/// marching cubes have there; distances go from corner to corner.
struct SurfaceDistances {
    std::vector<Surfel> from_target, from_prediction;
};

/// spacing: mm along D, H, W. The box may be cut tight around both masks. Linear in the box's voxels. host:
/// the threads that compute; none: the calling one.
SurfaceDistances surface_distances(const MaskPair& masks, const std::array<double, 3>& spacing, Stream host = {});

/// The distance within which `share` of either surface, by area, lies from the other; the larger of both. Infinity
/// where a surface is missing (the package's compute_robust_hausdorff).
double robust_hausdorff(SurfaceDistances distances, double share = 0.95);

/// mm² of the surface in a neighbourhood, by its code: bit 128 is voxel (0, 0, 0), 64 (0, 0, 1), 32 (0, 1, 0), …, 1
/// (1, 1, 1).
std::array<double, 256> surface_areas(const std::array<double, 3>& spacing);

}  // namespace iwseg
