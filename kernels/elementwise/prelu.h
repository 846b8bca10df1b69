#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/device/declare.h"
#include "kernels/device/dispatch.h"

/// ReLU with learned slopes (He et al., Delving Deep into Rectifiers, 2015). x, y: (N, C, D, H, W), f32 or bf16, all of
/// one form. slopes: f32, of the device; one for all channels, or C. Else std::invalid_argument is thrown.
IWSEG_BACKENDS(
    /// y = x above 0, else x times the slope, so that a NaN is passed on; y may be x.
    void prelu(Stream stream, View x, const float* slopes, std::int64_t count, View y);
    std::int64_t prelu_scratch_bytes(const Shape& shape, Layout layout, std::int64_t count);
    /// diff_x = diff_y above 0, else diff_y times the slope, or += it; not computed where diff_x has no memory. diff_x
    /// may be diff_y. diff_slopes: overwritten with the sums of x diff_y where x is not above 0, in a fixed order.
    void prelu_backward(Stream stream, View x, View diff_y, const float* slopes, std::int64_t count, View diff_x,
                        Write write, float* diff_slopes, void* scratch);)

namespace iwseg {

/// The tensor with a slope for each of its channels: where there is one slope, the same memory as one channel.
inline View by_slope(const View& x, std::int64_t count, const char* operation) {
    if (count == 1) return {x.data, {1, 1, 1, 1, elements_of(x)}, x.type, Layout::ncdhw};
    if (count == x.shape.c) return x;
    throw std::invalid_argument(std::string(operation) + ": expected one slope or " + std::to_string(x.shape.c) +
                                ", not " + std::to_string(count));
}

}  // namespace iwseg
