#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/convolution/geometry.h"

/// What the taps of a kernel join along one axis. Result q * dst_step + dst_first, for q from 0 to before `positions`,
/// is a sum over taps of what the source has at q * src_step + offset of the tap, or of zeros outside of it.
///
/// The result of a convolution is one such sum with src_step = stride. The gradient of its source is one for each phase
/// of the stride, p = dst_first: of the taps k that p + padding - k = stride * offset holds for, and of stride 1.
namespace iwseg::cpu {

struct AxisTaps {
    std::int64_t positions = 0, dst_first = 0, dst_step = 1, src_step = 1;
    int count = 0;  ///< of taps that read anything inside of the source at some position
    std::array<int, 7> tap{};
    std::array<std::int64_t, 7> offset{};  ///< rising with the tap, or falling

    std::int64_t least_offset() const;
    /// From the least offset to the greatest; 0 without taps.
    std::int64_t spread() const;
    /// Whether no tap reads outside of a source of that side.
    bool is_inside(std::int64_t side) const;
};

/// Of one axis of a convolution: sides of its source and result.
struct AxisGeometry {
    std::int64_t src, dst;
    int kernel, stride, padding;
};

struct AxesGeometry {
    AxisGeometry d, h, w;

    explicit AxesGeometry(const ConvolutionGeometry& joins);
};

/// Whether each channel is convolved by itself.
inline bool is_depthwise(const ConvolutionGeometry& joins) {
    return joins.groups > 1 && joins.groups == joins.src.c && joins.groups == joins.dst_channels;
}

AxisTaps result_taps(const AxisGeometry& axis);
/// One for each phase that the source has positions of; without taps where the kernel is smaller than the stride.
std::vector<AxisTaps> source_gradient_taps(const AxisGeometry& axis);

}  // namespace iwseg::cpu
