#include "kernels/convolution/check.h"

#include <algorithm>
#include <cmath>

namespace iwseg {
namespace {

/// The first, the last, and others strewn between.
std::vector<ExpectedNumber> places(std::int64_t numbers, int count) {
    std::vector<ExpectedNumber> chosen{{0, 0.0}, {numbers - 1, 0.0}};
    std::uint64_t state = 88172645463325252u;
    while (static_cast<int>(chosen.size()) < count) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        chosen.push_back({static_cast<std::int64_t>(state % static_cast<std::uint64_t>(numbers)), 0.0});
    }
    return chosen;
}

struct Voxel {
    std::int64_t n, d, h, w;
};

Voxel voxel_of(const Shape& s, std::int64_t at) {
    return {at / s.w / s.h / s.d, at / s.w / s.h % s.d, at / s.w % s.h, at % s.w};
}

/// Calls body(voxel, tap) for the neighbours within the tensor; mirrored: for those whose neighbour the voxel is.
template <class Body>
void each_neighbour(const NoiseConvolution& c, std::int64_t voxel, bool mirrored, Body&& body) {
    const Voxel at = voxel_of(c.src, voxel);
    const int k = c.kernel, r = k / 2, side = mirrored ? -1 : 1;
    for (int tap = 0; tap < k * k * k; ++tap) {
        const std::int64_t d = at.d + side * (tap / k / k - r), h = at.h + side * (tap / k % k - r),
                           w = at.w + side * (tap % k - r);
        if (d < 0 || d >= c.src.d || h < 0 || h >= c.src.h || w < 0 || w >= c.src.w) continue;
        body(((at.n * c.src.d + d) * c.src.h + h) * c.src.w + w, tap);
    }
}

double product(NoiseOperand a, std::int64_t at_a, NoiseOperand b, std::int64_t at_b) {
    return static_cast<double>(noise_at(a, at_a)) * static_cast<double>(noise_at(b, at_b));
}

double src_at(const NoiseConvolution& c, std::int64_t place) {
    const float noise = noise_at(kNoiseSrc, place);
    return c.normalised ? normalised_noise(noise) : noise;
}

}  // namespace

std::vector<ExpectedNumber> expected_forward(const NoiseConvolution& c, int count) {
    const std::int64_t inputs = c.src.c, taps = c.kernel * c.kernel * c.kernel;
    auto numbers = places(c.src.n * c.src.voxels() * c.outputs, count);
    for (auto& [place, value] : numbers) {
        const std::int64_t o = place % c.outputs;
        value = (c.bias ? noise_at(kNoiseBias, o) : 0.0f) + (c.accumulate ? noise_at(kNoiseDst, place) : 0.0f);
        double sum = 0;
        each_neighbour(c, place / c.outputs, false, [&](std::int64_t voxel, int tap) {
            for (std::int64_t i = 0; i < inputs; ++i)
                sum += src_at(c, voxel * inputs + i) * noise_at(kNoiseWeights, (o * taps + tap) * inputs + i);
        });
        value += sum;
    }
    return numbers;
}

std::vector<ExpectedNumber> expected_data_gradient(const NoiseConvolution& c, int count) {
    const std::int64_t inputs = c.src.c, taps = c.kernel * c.kernel * c.kernel;
    auto numbers = places(c.src.elements(), count);
    for (auto& [place, value] : numbers) {
        double sum = 0;
        const std::int64_t i = place % inputs;
        each_neighbour(c, place / inputs, true, [&](std::int64_t voxel, int tap) {
            for (std::int64_t o = 0; o < c.outputs; ++o)
                sum += product(kNoiseDst, voxel * c.outputs + o, kNoiseWeights, (o * taps + tap) * inputs + i);
        });
        value = sum;
    }
    return numbers;
}

std::vector<ExpectedNumber> expected_weight_gradient(const NoiseConvolution& c, int count) {
    const std::int64_t inputs = c.src.c, k = c.kernel, r = k / 2, taps = k * k * k;
    const Shape& s = c.src;
    auto numbers = places(c.outputs * taps * inputs, count);
    for (auto& [place, value] : numbers) {
        const std::int64_t i = place % inputs, tap = place / inputs % taps, o = place / inputs / taps;
        const std::int64_t dd = tap / k / k - r, dh = tap / k % k - r, dw = tap % k - r;
        double sum = 0;
        for (std::int64_t n = 0; n < s.n; ++n)
            for (std::int64_t d = std::max<std::int64_t>(0, -dd); d < std::min(s.d, s.d - dd); ++d)
                for (std::int64_t h = std::max<std::int64_t>(0, -dh); h < std::min(s.h, s.h - dh); ++h)
                    for (std::int64_t w = std::max<std::int64_t>(0, -dw); w < std::min(s.w, s.w - dw); ++w) {
                        const std::int64_t to = ((n * s.d + d) * s.h + h) * s.w + w;
                        const std::int64_t from = to + (dd * s.h + dh) * s.w + dw;
                        sum += src_at(c, from * inputs + i) * noise_at(kNoiseDst, to * c.outputs + o);
                    }
        value = sum;
    }
    return numbers;
}

std::string first_difference(const std::vector<ExpectedNumber>& expected, const std::vector<double>& got,
                             double allowed) {
    double largest = 1e-30, worst = 0;
    std::size_t at = 0;
    for (const ExpectedNumber& one : expected) largest = std::max(largest, std::abs(one.value));
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const double difference = std::abs(got[i] - expected[i].value);
        if (difference <= worst) continue;  // false for a NaN, which is the worst
        worst = difference, at = i;
        if (std::isnan(difference)) break;
    }
    if (worst <= allowed * largest) return "";
    return "number " + std::to_string(expected[at].place) + " is " + std::to_string(got[at]) + " and should be " +
           std::to_string(expected[at].value);
}

}  // namespace iwseg
