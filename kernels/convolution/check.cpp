#include "kernels/convolution/check.h"

#include <algorithm>
#include <cmath>

namespace iwseg {
namespace {

/// The first, the last, and others strewn between.
std::vector<ExpectedNumber> places(std::int64_t elements, int count) {
    std::vector<ExpectedNumber> chosen{{0, 0.0}, {elements - 1, 0.0}};
    std::uint64_t state = 88172645463325252u;
    while (static_cast<int>(chosen.size()) < count) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        chosen.push_back({static_cast<std::int64_t>(state % static_cast<std::uint64_t>(elements)), 0.0});
    }
    return chosen;
}

/// Along one axis: the place in src that a tap of the kernel reads for a place in dst, or the other way; -1: none.
struct Axis {
    std::int64_t src, dst;  ///< sides
    int padding, stride;

    std::int64_t read(std::int64_t at, int tap) const {
        const std::int64_t place = at * stride + tap - padding;
        return place < src ? std::max<std::int64_t>(place, -1) : -1;
    }
    std::int64_t reader(std::int64_t place, int tap) const {
        const std::int64_t moved = place + padding - tap;
        return moved >= 0 && moved % stride == 0 && moved / stride < dst ? moved / stride : -1;
    }
};

struct Axes {
    Axis d, h, w;

    explicit Axes(const ConvolutionGeometry& g)
        : d{g.src.d, g.dst().d, g.padding().d, g.stride.d},
          h{g.src.h, g.dst().h, g.padding().h, g.stride.h},
          w{g.src.w, g.dst().w, g.padding().w, g.stride.w} {}
};

/// Calls body(voxel of src, tap) for what a voxel of dst is made of or, mirrored, body(voxel of dst, tap) for where a
/// voxel of src goes; voxels are numbered through all samples.
template <class Body>
void each_neighbour(const ConvolutionGeometry& g, std::int64_t voxel, bool mirrored, Body&& body) {
    const Axes axes(g);
    const Shape dst = g.dst(), &from = mirrored ? g.src : dst, &to = mirrored ? dst : g.src;
    const std::int64_t n = voxel / from.voxels(), at_d = voxel / from.w / from.h % from.d,
                       at_h = voxel / from.w % from.h, at_w = voxel % from.w;
    const auto moved = [&](const Axis& axis, std::int64_t at, int tap) {
        return mirrored ? axis.reader(at, tap) : axis.read(at, tap);
    };
    int tap = 0;
    for (int i = 0; i < g.kernel.d; ++i)
        for (int j = 0; j < g.kernel.h; ++j)
            for (int k = 0; k < g.kernel.w; ++k, ++tap) {
                const std::int64_t d = moved(axes.d, at_d, i), h = moved(axes.h, at_h, j), w = moved(axes.w, at_w, k);
                if (d >= 0 && h >= 0 && w >= 0) body(((n * to.d + d) * to.h + h) * to.w + w, tap);
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
    const ConvolutionGeometry& g = c.joins;
    const std::int64_t inputs = g.inputs(), taps = g.taps(), outputs = g.dst_channels;
    auto elements = places(g.dst().elements(), count);
    for (auto& [place, value] : elements) {
        const std::int64_t o = place % outputs, first = o / (outputs / g.groups) * inputs;  // of the group's inputs
        value = (c.bias ? noise_at(kNoiseBias, o) : 0.0f) + (c.accumulate ? noise_at(kNoiseDst, place) : 0.0f);
        double sum = 0;
        each_neighbour(g, place / outputs, false, [&](std::int64_t voxel, int tap) {
            for (std::int64_t i = 0; i < inputs; ++i)
                sum += src_at(c, voxel * g.src.c + first + i) * noise_at(kNoiseWeights, (o * taps + tap) * inputs + i);
        });
        value += sum;
    }
    return elements;
}

std::vector<ExpectedNumber> expected_data_gradient(const NoiseConvolution& c, int count) {
    const ConvolutionGeometry& g = c.joins;
    const std::int64_t inputs = g.inputs(), taps = g.taps(), outputs = g.dst_channels / g.groups;
    auto elements = places(g.src.elements(), count);
    for (auto& [place, value] : elements) {
        double sum = 0;
        const std::int64_t channel = place % g.src.c, i = channel % inputs, first = channel / inputs * outputs;
        each_neighbour(g, place / g.src.c, true, [&](std::int64_t voxel, int tap) {
            for (std::int64_t o = first; o < first + outputs; ++o)
                sum += product(kNoiseDst, voxel * g.dst_channels + o, kNoiseWeights, (o * taps + tap) * inputs + i);
        });
        value = sum;
    }
    return elements;
}

std::vector<ExpectedNumber> expected_weight_gradient(const NoiseConvolution& c, int count) {
    const ConvolutionGeometry& g = c.joins;
    const std::int64_t inputs = g.inputs(), taps = g.taps();
    const Shape &s = g.src, t = g.dst();
    const Axes axes(g);
    auto elements = places(g.weight_count(), count);
    for (auto& [place, value] : elements) {
        const std::int64_t o = place / inputs / taps, i = o / (g.dst_channels / g.groups) * inputs + place % inputs;
        const int tap = static_cast<int>(place / inputs % taps), of_d = tap / g.kernel.h / g.kernel.w,
                  of_h = tap / g.kernel.w % g.kernel.h, of_w = tap % g.kernel.w;
        double sum = 0;
        for (std::int64_t row = 0; row < t.n * t.d * t.h; ++row) {
            const std::int64_t d = axes.d.read(row / t.h % t.d, of_d), h = axes.h.read(row % t.h, of_h);
            if (d < 0 || h < 0) continue;
            const std::int64_t from = ((row / t.h / t.d * s.d + d) * s.h + h) * s.w;
            for (std::int64_t at = 0; at < t.w; ++at)
                if (const std::int64_t w = axes.w.read(at, of_w); w >= 0)
                    sum += src_at(c, (from + w) * s.c + i) * noise_at(kNoiseDst, (row * t.w + at) * t.c + o);
        }
        value = sum;
    }
    return elements;
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
