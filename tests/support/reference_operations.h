#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/device/view.h"

/// Every operation of the network in double precision, written down plainly on (N, C, D, H, W) arrays: what kernels are
/// compared with and what central differences are taken of.
namespace iwseg::reference {

struct Array {
    Shape shape;
    std::vector<double> values;

    explicit Array(const Shape& s) : shape(s), values(static_cast<std::size_t>(s.elements())) {}
    double& at(std::int64_t n, std::int64_t c, std::int64_t d, std::int64_t h, std::int64_t w) {
        return values[static_cast<std::size_t>((((n * shape.c + c) * shape.d + d) * shape.h + h) * shape.w + w)];
    }
    double at(std::int64_t n, std::int64_t c, std::int64_t d, std::int64_t h, std::int64_t w) const {
        return const_cast<Array*>(this)->at(n, c, d, h, w);
    }
};

/// Calls body(n, c, d, h, w) for every element of a shape.
template <class Body>
void each(const Shape& s, Body&& body) {
    for (std::int64_t n = 0; n < s.n; ++n)
        for (std::int64_t c = 0; c < s.c; ++c)
            for (std::int64_t d = 0; d < s.d; ++d)
                for (std::int64_t h = 0; h < s.h; ++h)
                    for (std::int64_t w = 0; w < s.w; ++w) body(n, c, d, h, w);
}

/// weights: (O, C, k, k, k); bias: O numbers, or none.
inline Array convolution(const Array& x, const std::vector<double>& weights, const std::vector<double>& bias,
                         std::int64_t outputs, int k) {
    const Shape& s = x.shape;
    Array y({s.n, outputs, s.d, s.h, s.w});
    const std::int64_t r = k / 2;
    const auto row = [&](std::int64_t n, std::int64_t o, std::int64_t d, std::int64_t h) {
        double* to = &y.at(n, o, d, h, 0);
        if (!bias.empty()) std::fill_n(to, s.w, bias[static_cast<std::size_t>(o)]);
        for (std::int64_t c = 0; c < s.c; ++c)
            for (std::int64_t i = std::max(-r, -d); i <= r && d + i < s.d; ++i)
                for (std::int64_t j = std::max(-r, -h); j <= r && h + j < s.h; ++j)
                    for (std::int64_t l = -r; l <= r; ++l) {
                        const double weight =
                            weights[static_cast<std::size_t>((((o * s.c + c) * k + i + r) * k + j + r) * k + l + r)];
                        const double* from = x.values.data() + (((n * s.c + c) * s.d + d + i) * s.h + h + j) * s.w;
                        for (std::int64_t w = std::max<std::int64_t>(0, -l); w < std::min(s.w, s.w - l); ++w)
                            to[w] += weight * from[w + l];
                    }
    };
    for (std::int64_t n = 0; n < s.n; ++n)
        for (std::int64_t o = 0; o < outputs; ++o)
            for (std::int64_t d = 0; d < s.d; ++d)
                for (std::int64_t h = 0; h < s.h; ++h) row(n, o, d, h);
    return y;
}

/// With statistics of the batch.
inline Array batch_norm(const Array& x, const std::vector<double>& scale, const std::vector<double>& shift, bool relu) {
    Array y(x.shape);
    const double count = static_cast<double>(x.shape.n * x.shape.voxels());
    std::vector<double> mean(scale.size()), square(scale.size());
    each(x.shape, [&](auto n, auto c, auto d, auto h, auto w) { mean[c] += x.at(n, c, d, h, w) / count; });
    each(x.shape, [&](auto n, auto c, auto d, auto h, auto w) {
        const double away = x.at(n, c, d, h, w) - mean[c];
        square[c] += away * away / count;
    });
    each(x.shape, [&](auto n, auto c, auto d, auto h, auto w) {
        const double value = (x.at(n, c, d, h, w) - mean[c]) / std::sqrt(square[c] + 1e-5) * scale[c] + shift[c];
        y.at(n, c, d, h, w) = relu ? std::max(value, 0.0) : value;
    });
    return y;
}

inline Array max_pool(const Array& x) {
    const Shape& s = x.shape;
    Array y({s.n, s.c, s.d / 2, s.h / 2, s.w / 2});
    std::fill(y.values.begin(), y.values.end(), -INFINITY);
    each(s, [&](auto n, auto c, auto d, auto h, auto w) {
        double& to = y.at(n, c, d / 2, h / 2, w / 2);
        to = std::max(to, x.at(n, c, d, h, w));
    });
    return y;
}

/// To twice the size, trilinear, corners aligned.
inline Array upsample(const Array& x) {
    const Shape& s = x.shape;
    Array y({s.n, s.c, 2 * s.d, 2 * s.h, 2 * s.w});
    const auto tap = [](std::int64_t o, std::int64_t size, std::int64_t side) {
        const double at =
            size > 1 ? static_cast<double>(o) * static_cast<double>(size - 1) / static_cast<double>(2 * size - 1) : 0;
        const auto near = std::min(static_cast<std::int64_t>(at), std::max<std::int64_t>(size - 2, 0));
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

}  // namespace iwseg::reference
