#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/device/declare.h"

namespace iwseg {

/// The squared Euclidean distance, in mm², from every wanted cell to the nearest cell whose seed is not 0; infinity
/// where there is no seed. Cells that are not wanted, 0 there, hold no distance: lines without a wanted cell are passed
/// over. seeds, wanted: (D, H, W), W fastest. spacing: mm a cell along D, H, W, above 0. Exact but for rounding, and
/// linear in the cells: one axis after another, the lower envelope of parabolas along each line (Felzenszwalb and
/// Huttenlocher, "Distance Transforms of Sampled Functions", Theory of Computing 2012). host: the threads that compute;
/// none: the calling one.
std::vector<double> squared_distances(const std::vector<std::uint8_t>& seeds, const std::vector<std::uint8_t>& wanted,
                                      const std::array<std::int64_t, 3>& shape, const std::array<double, 3>& spacing,
                                      Stream host = {});

}  // namespace iwseg
