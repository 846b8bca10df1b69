#include "kernels/convolution/taps/axis_taps.h"

#include <algorithm>

namespace iwseg::cpu {
namespace {

/// Adds a tap, unless it never reads inside of a source of that side.
void add_tap(AxisTaps& taps, int tap, std::int64_t offset, std::int64_t side) {
    const std::int64_t step = taps.src_step;
    const std::int64_t first = offset < 0 ? (-offset + step - 1) / step : 0;
    if (first >= taps.positions || first * step + offset >= side) return;
    taps.tap[static_cast<std::size_t>(taps.count)] = tap;
    taps.offset[static_cast<std::size_t>(taps.count++)] = offset;
}

}  // namespace

std::int64_t AxisTaps::least_offset() const {
    return count ? *std::min_element(offset.begin(), offset.begin() + count) : 0;
}

std::int64_t AxisTaps::spread() const {
    return count ? *std::max_element(offset.begin(), offset.begin() + count) - least_offset() : 0;
}

bool AxisTaps::is_inside(std::int64_t side) const {
    return least_offset() >= 0 && (positions - 1) * src_step + least_offset() + spread() < side;
}

AxesGeometry::AxesGeometry(const ConvolutionGeometry& g)
    : d{g.src.d, g.dst().d, g.kernel.d, g.stride.d, g.padding().d},
      h{g.src.h, g.dst().h, g.kernel.h, g.stride.h, g.padding().h},
      w{g.src.w, g.dst().w, g.kernel.w, g.stride.w, g.padding().w} {}

AxisTaps result_taps(const AxisGeometry& axis) {
    AxisTaps taps;
    taps.positions = axis.dst;
    taps.src_step = axis.stride;
    for (int k = 0; k < axis.kernel; ++k) add_tap(taps, k, k - axis.padding, axis.src);
    return taps;
}

std::vector<AxisTaps> source_gradient_taps(const AxisGeometry& axis) {
    std::vector<AxisTaps> phases;
    for (int p = 0; p < std::min<std::int64_t>(axis.stride, axis.src); ++p) {
        AxisTaps taps;
        taps.positions = (axis.src - p + axis.stride - 1) / axis.stride;
        taps.dst_first = p;
        taps.dst_step = axis.stride;
        for (int k = 0; k < axis.kernel; ++k)
            if (const int moved = p + axis.padding - k; moved % axis.stride == 0)
                add_tap(taps, k, moved / axis.stride, axis.dst);
        phases.push_back(taps);
    }
    return phases;
}

}  // namespace iwseg::cpu
