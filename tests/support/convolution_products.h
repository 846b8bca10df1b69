#pragma once

#include <cstdint>

#include "kernels/convolution/convolution.h"
#include "tests/support/reference_operations.h"

namespace iwseg {

/// Calls body(place in dst, place in src, weight) for every product of a convolution's definition.
template <class Body>
void each_product(const ConvolutionOptions& o, Body&& body) {
    const Sides padding = o.padding(), &k = o.kernel;
    const Shape dst = o.dst(), &s = o.src;
    reference::each(dst, [&](auto n, auto out, auto d, auto h, auto w) {
        const std::int64_t first = out / (o.dst_channels / o.groups) * o.inputs();
        for (int tap = 0; tap < k.product(); ++tap) {
            const std::int64_t z = d * o.stride.d + tap / k.w / k.h - padding.d;
            const std::int64_t y = h * o.stride.h + tap / k.w % k.h - padding.h;
            const std::int64_t x = w * o.stride.w + tap % k.w - padding.w;
            if (z < 0 || z >= s.d || y < 0 || y >= s.h || x < 0 || x >= s.w) continue;
            for (std::int64_t c = 0; c < o.inputs(); ++c)
                body((((n * dst.c + out) * dst.d + d) * dst.h + h) * dst.w + w,
                     (((n * s.c + first + c) * s.d + z) * s.h + y) * s.w + x,
                     (out * o.inputs() + c) * k.product() + tap);
        }
    });
}

}  // namespace iwseg
