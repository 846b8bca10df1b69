#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/convolution/convolution.h"
#include "kernels/elementwise/dropout.h"
#include "kernels/resample/window_sum.h"
#include "tests/support/reference_operations.h"

// Operations beyond the residual U-Net's in double precision, written down plainly: NaN and infinity as PyTorch has
// them.
namespace iwseg::reference {

using Arrays = std::vector<Array>;

inline Array concatenated(const Arrays& parts) {
    Shape shape = parts[0].shape;
    shape.c = 0;
    for (const Array& part : parts) shape.c += part.shape.c;
    Array y(shape);
    std::int64_t first = 0;
    for (const Array& part : parts) {
        each(part.shape,
             [&](auto n, auto c, auto d, auto h, auto w) { y.at(n, first + c, d, h, w) = part.at(n, c, d, h, w); });
        first += part.shape.c;
    }
    return y;
}

/// y = join(y, x) over each window, y beginning as `start`.
template <class Join>
Array over_windows(const Array& x, const Sides& window, double start, Join&& join) {
    const Shape& s = x.shape;
    Array y({s.n, s.c, s.d / window.d, s.h / window.h, s.w / window.w});
    std::fill(y.values.begin(), y.values.end(), start);
    each(s, [&](auto n, auto c, auto d, auto h, auto w) {
        double& to = y.at(n, c, d / window.d, h / window.h, w / window.w);
        to = join(to, x.at(n, c, d, h, w));
    });
    return y;
}

inline Array max_pool(const Array& x, const Sides& window) {
    return over_windows(x, window, -INFINITY, [](double a, double b) { return std::isnan(a) || b < a ? a : b; });
}

inline Array average_pool(const Array& x, const Sides& window) {
    const double share = 1.0 / (window.d * window.h * window.w);
    return over_windows(x, window, 0, [=](double a, double b) { return a + share * b; });
}

inline Array global_average_pool(const Array& x) {
    return average_pool(x, {static_cast<int>(x.shape.d), static_cast<int>(x.shape.h), static_cast<int>(x.shape.w)});
}

inline Array upsample_nearest(const Array& x, const Sides& times) {
    const Shape& s = x.shape;
    Array y({s.n, s.c, times.d * s.d, times.h * s.h, times.w * s.w});
    each(y.shape, [&](auto n, auto c, auto d, auto h, auto w) {
        y.at(n, c, d, h, w) = x.at(n, c, d / times.d, h / times.h, w / times.w);
    });
    return y;
}

/// To twice the size, trilinear, with half-pixel corners: PyTorch's align_corners = false.
inline Array upsample_half(const Array& x) {
    const Shape& s = x.shape;
    Array y({s.n, s.c, 2 * s.d, 2 * s.h, 2 * s.w});
    const auto tap = [](std::int64_t o, std::int64_t size, std::int64_t side) {
        const double at = std::max(0.0, (static_cast<double>(o) + 0.5) / 2 - 0.5);
        const auto near = static_cast<std::int64_t>(at);
        const double far = at - static_cast<double>(near);
        return std::pair(std::min(near + side, size - 1), side ? far : 1 - far);
    };
    each(y.shape, [&](auto n, auto c, auto d, auto h, auto w) {
        for (int corner = 0; corner < 8; ++corner) {
            const auto [i, a] = tap(d, s.d, corner >> 2);
            const auto [j, b] = tap(h, s.h, corner >> 1 & 1);
            const auto [k, e] = tap(w, s.w, corner & 1);
            y.at(n, c, d, h, w) += a * b * e * x.at(n, c, i, j, k);
        }
    });
    return y;
}

inline Array softmax(const Array& x) {
    Array y = x;
    Shape voxels = x.shape;
    voxels.c = 1;
    each(voxels, [&](auto n, auto, auto d, auto h, auto w) {
        double most = -INFINITY, sum = 0;
        for (std::int64_t c = 0; c < x.shape.c; ++c)
            if (const double v = x.at(n, c, d, h, w); v > most) most = v;
        for (std::int64_t c = 0; c < x.shape.c; ++c) sum += std::exp(x.at(n, c, d, h, w) - most);
        for (std::int64_t c = 0; c < x.shape.c; ++c) y.at(n, c, d, h, w) = std::exp(x.at(n, c, d, h, w) - most) / sum;
    });
    return y;
}

/// weights: (O, I); bias: (O), or none.
inline Array linear(const Array& x, const Array& weights, const Array* bias, std::int64_t features) {
    Array y({x.shape.n, features, 1, 1, 1});
    each(y.shape, [&](auto n, auto o, auto, auto, auto) {
        double sum = bias ? bias->values[static_cast<std::size_t>(o)] : 0;
        for (std::int64_t i = 0; i < x.shape.c; ++i)
            sum += weights.values[static_cast<std::size_t>(o * x.shape.c + i)] * x.at(n, i, 0, 0, 0);
        y.at(n, o, 0, 0, 0) = sum;
    });
    return y;
}

/// Dropped by the numbers that kernels/dropout.h defines.
inline Array dropout(const Array& x, double rate, std::uint32_t layer, std::uint64_t seed, std::uint64_t step) {
    Array y = x;
    const Shape& s = x.shape;
    each(s, [&](auto n, auto c, auto d, auto h, auto w) {
        const std::int64_t voxel = (d * s.h + h) * s.w + w, group = (n * s.voxels() + voxel) * ((s.c + 3) / 4) + c / 4;
        const PhiloxCounter bits = dropout_bits(static_cast<std::uint32_t>(group), layer, seed, step);
        y.at(n, c, d, h, w) *= bits.words[c % 4] < rate * 0x1p32 ? 0 : 1 / (1 - rate);
    });
    return y;
}

/// The definition, (N, O, …); weights: (O, C / groups, kernel).
inline Array convolution(const ConvolutionOptions& o, const Array& x, const std::vector<double>& weights,
                         const std::vector<double>& bias) {
    Array y(o.dst());
    const auto padding = o.padding();
    each(y.shape, [&](auto n, auto out, auto d, auto h, auto w) {
        double sum = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(out)];
        const std::int64_t first = out / (o.dst_channels / o.groups) * o.inputs();
        for (std::int64_t c = 0; c < o.inputs(); ++c)
            for (int i = 0; i < o.kernel.d; ++i)
                for (int j = 0; j < o.kernel.h; ++j)
                    for (int k = 0; k < o.kernel.w; ++k) {
                        const std::int64_t z = d * o.stride.d + i - padding.d, v = h * o.stride.h + j - padding.h;
                        const std::int64_t u = w * o.stride.w + k - padding.w;
                        if (z < 0 || z >= o.src.d || v < 0 || v >= o.src.h || u < 0 || u >= o.src.w) continue;
                        const std::int64_t tap = (i * o.kernel.h + j) * o.kernel.w + k;
                        sum += x.at(n, first + c, z, v, u) *
                               weights[static_cast<std::size_t>((out * o.inputs() + c) * o.taps() + tap)];
                    }
        y.at(n, out, d, h, w) = sum;
    });
    return y;
}

/// The other way: the gradient that a convolution from y to x, whose stride is its kernel, gives to y; and a bias.
/// weights: (C, O, kernel).
inline Array transposed_convolution(const Array& x, const std::vector<double>& weights, const std::vector<double>& bias,
                                    std::int64_t outputs, const Sides& k) {
    const Shape& s = x.shape;
    Array y({s.n, outputs, s.d * k.d, s.h * k.h, s.w * k.w});
    each(y.shape, [&](auto n, auto o, auto d, auto h, auto w) {
        const std::int64_t tap = (d % k.d * k.h + h % k.h) * k.w + w % k.w;
        double sum = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(o)];
        for (std::int64_t c = 0; c < s.c; ++c)
            sum += x.at(n, c, d / k.d, h / k.h, w / k.w) *
                   weights[static_cast<std::size_t>((c * outputs + o) * k.product() + tap)];
        y.at(n, o, d, h, w) = sum;
    });
    return y;
}

/// The same of a kernel that overlaps: sides become the stride times as many.
inline Array transposed_convolution(const Array& x, const std::vector<double>& weights, const std::vector<double>& bias,
                                    std::int64_t outputs, const Sides& k, const Sides& stride) {
    const Shape& s = x.shape;
    Array y({s.n, outputs, s.d * stride.d, s.h * stride.h, s.w * stride.w});
    each(y.shape, [&](auto n, auto o, auto d, auto h, auto w) {
        double sum = bias.empty() ? 0.0 : bias[static_cast<std::size_t>(o)];
        each({1, s.c, k.d, k.h, k.w}, [&](auto, auto c, auto i, auto j, auto l) {
            // An input at z reaches z * stride + tap - padding.
            const std::int64_t from_d = d + k.d / 2 - i, from_h = h + k.h / 2 - j, from_w = w + k.w / 2 - l;
            if (from_d < 0 || from_h < 0 || from_w < 0 || from_d % stride.d || from_h % stride.h || from_w % stride.w)
                return;
            const std::int64_t z = from_d / stride.d, y_of = from_h / stride.h, x_of = from_w / stride.w;
            if (z >= s.d || y_of >= s.h || x_of >= s.w) return;
            const std::int64_t tap = (i * k.h + j) * k.w + l;
            sum += x.at(n, c, z, y_of, x_of) * weights[static_cast<std::size_t>((c * outputs + o) * k.product() + tap)];
        });
        y.at(n, o, d, h, w) = sum;
    });
    return y;
}

/// Channels of a group as if they were one's voxels; slope: of what is below 0.
inline Array group_norm(const Array& x, std::int64_t groups, const std::vector<double>& scale,
                        const std::vector<double>& shift, double slope) {
    Array y = x;
    const std::int64_t in_group = x.shape.elements() / x.shape.n / groups, voxels = x.shape.voxels();
    for (std::int64_t group = 0; group < x.shape.n * groups; ++group) {
        const double* from = x.values.data() + group * in_group;
        double mean = 0, variance = 0;
        for (std::int64_t i = 0; i < in_group; ++i) mean += from[i] / static_cast<double>(in_group);
        for (std::int64_t i = 0; i < in_group; ++i)
            variance += (from[i] - mean) * (from[i] - mean) / static_cast<double>(in_group);
        for (std::int64_t i = 0; i < in_group; ++i) {
            const auto c = static_cast<std::size_t>((group * in_group + i) / voxels % x.shape.c);
            const double value = (from[i] - mean) / std::sqrt(variance + 1e-5) * scale[c] + shift[c];
            y.values[static_cast<std::size_t>(group * in_group + i)] = value < 0 ? slope * value : value;
        }
    }
    return y;
}

/// A sample at a time; slope: of what is below 0.
inline Array instance_norm(const Array& x, const std::vector<double>& scale, const std::vector<double>& shift,
                           double slope) {
    Array y = x;
    Shape one = x.shape;
    one.n = 1;
    for (std::int64_t n = 0; n < x.shape.n; ++n) {
        Array sample(one);
        const auto first = x.values.begin() + n * one.elements();
        std::copy(first, first + one.elements(), sample.values.begin());
        sample = batch_norm(sample, scale, shift, false);
        for (double& value : sample.values) value *= value < 0 ? slope : 1;
        std::copy(sample.values.begin(), sample.values.end(), y.values.begin() + n * one.elements());
    }
    return y;
}

}  // namespace iwseg::reference
