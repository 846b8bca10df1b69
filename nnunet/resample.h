#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/extent.h"
#include "kernels/device/declare.h"
#include "nnunet/plans.h"

namespace iwseg::nnunet {

/// One axis of `from` voxels resampled to `to`, over the same length: at (i + 0.5) from / to - 0.5, by B-splines of
/// order 0 (nearest), 1 (linear) or 3 whose values at the edges go on outside, as scikit-image's resize computes it
/// with mode="edge", and SciPy's zoom with mode="nearest", grid_mode=True.
class ResampledAxis {
  public:
    ResampledAxis(std::int64_t from, std::int64_t to, int order);

    std::int64_t from() const { return from_; }
    std::int64_t to() const { return static_cast<std::int64_t>(taps_.size()); }
    bool is_same() const { return from() == to(); }

    /// Voxels that one of the result is made of: values or, of order 3, coefficients.
    struct Taps {
        std::int64_t first = 0;  ///< of four, the others follow; may lie outside of the axis
        std::array<double, 4> weights{};
    };
    const Taps& taps(std::int64_t i) const { return taps_[static_cast<std::size_t>(i)]; }

    /// Resamples the middle axis of (outer, from, inner) to (outer, to, inner), by the stream's threads. The bytes do
    /// not depend on their number.
    void run(Stream stream, const float* x, std::int64_t outer, std::int64_t inner, float* y) const;

  private:
    std::int64_t from_;
    int order_;
    std::vector<Taps> taps_;
};

/// By which order nnU-Net resamples each axis of an image whose voxels become others.
struct AxisOrders {
    std::array<int, 3> orders{};
    int separate = -1;  ///< the axis that is resampled by itself, after the planes across it; -1: none is
};
AxisOrders axis_orders(const Resampling& resampling, const std::array<double, 3>& from_spacing,
                       const std::array<double, 3>& to_spacing);

/// The sides that an image has at another spacing: halves to the even number.
Extent resampled_extent(const Extent& extent, const std::array<double, 3>& from_spacing,
                        const std::array<double, 3>& to_spacing);

/// One channel (D, H, W), resampled axis by axis. Values stay within those of the image, or of each plane that is
/// resampled by itself. One that keeps its extent is left as it is.
std::vector<float> resample(Stream stream, std::vector<float> image, const Extent& from, const Extent& to,
                            const AxisOrders& orders);

/// Memory that resample takes at its peak, its image and its result included, in bytes.
std::int64_t resampling_bytes(const Extent& from, const Extent& to, const AxisOrders& orders);

}  // namespace iwseg::nnunet
