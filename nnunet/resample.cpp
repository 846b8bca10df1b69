#include "nnunet/resample.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/cpu/parallel.h"

namespace iwseg::nnunet {
namespace {

constexpr std::int64_t kTogether = 16;  ///< lines that are resampled side by side
constexpr std::int64_t kMargin = 2;     ///< coefficients that taps reach outside of the axis
constexpr double kAnisotropic = 3;      ///< nnU-Net's ANISO_THRESHOLD
const double kPole = std::sqrt(3.0) - 2.0;

using Lines = double[kTogether];

/// Values of kTogether lines, the first at lines[0], become coefficients of cubic B-splines that pass through them,
/// with kMargin more on each side. The recursions (Unser, 1999) begin with what infinitely many more of the first and
/// of the last value would have led to.
void make_coefficients(Lines* lines, std::int64_t n) {
    const double steady = 6 / (1 - kPole);
    Lines last;
    for (std::int64_t l = 0; l < kTogether; ++l) {
        last[l] = steady * lines[n - 1][l];
        lines[0][l] *= steady;
        for (std::int64_t m = 1; m <= kMargin; ++m) lines[-m][l] = lines[0][l];
    }
    for (std::int64_t k = 1; k < n; ++k)
        for (std::int64_t l = 0; l < kTogether; ++l) lines[k][l] = 6 * lines[k][l] + kPole * lines[k - 1][l];
    for (std::int64_t l = 0; l < kTogether; ++l) {
        double rest = lines[n - 1][l] - last[l];
        for (std::int64_t m = 0; m <= kMargin; ++m, rest *= kPole)
            lines[n - 1 + m][l] = -kPole * (last[l] / (1 - kPole) + rest / (1 - kPole * kPole));
    }
    for (std::int64_t k = n - 2; k >= -kMargin; --k)
        for (std::int64_t l = 0; l < kTogether; ++l) lines[k][l] = kPole * (lines[k + 1][l] - lines[k][l]);
}

void repeat_edges(Lines* lines, std::int64_t n) {
    for (std::int64_t m = 1; m <= kMargin; ++m) {
        std::copy_n(lines[0], kTogether, lines[-m]);
        std::copy_n(lines[n - 1], kTogether, lines[n - 1 + m]);
    }
}

ResampledAxis::Taps taps_at(double at, int order) {
    ResampledAxis::Taps taps;
    const double below = std::floor(order == 0 ? at + 0.5 : at);
    const double t = at - below;
    taps.first = static_cast<std::int64_t>(below) - 1;
    if (order == 0) {
        taps.weights = {0, 1, 0, 0};
    } else if (order == 1) {
        taps.weights = {0, 1 - t, t, 0};
    } else {
        const double u = 1 - t;
        taps.weights = {u * u * u / 6, (4 - 6 * t * t + 3 * t * t * t) / 6, (4 - 6 * u * u + 3 * u * u * u) / 6,
                        t * t * t / 6};
    }
    return taps;
}

std::int64_t product(const Extent& extent, int first, int last) {
    std::int64_t all = 1;
    for (int axis = first; axis < last; ++axis) all *= extent[static_cast<std::size_t>(axis)];
    return all;
}

/// The axis of the lowest resolution; -1 where several are.
int lowest_axis(const std::array<double, 3>& spacing) {
    const double most = *std::max_element(spacing.begin(), spacing.end());
    if (std::count(spacing.begin(), spacing.end(), most) != 1) return -1;
    return static_cast<int>(std::max_element(spacing.begin(), spacing.end()) - spacing.begin());
}

bool is_anisotropic(const std::array<double, 3>& spacing) {
    const auto [least, most] = std::minmax_element(spacing.begin(), spacing.end());
    return *most / *least > kAnisotropic;
}

struct Bounds {
    float low, high;
};

/// Bounds of each plane across an axis, or of the whole where it is -1.
std::vector<Bounds> bounds_of(Stream stream, const std::vector<float>& image, const Extent& extent, int axis) {
    const std::int64_t outer = axis < 0 ? 1 : product(extent, 0, axis),
                       planes = axis < 0 ? 1 : extent[static_cast<std::size_t>(axis)],
                       inner = product(extent, axis + 1, 3);
    std::vector<Bounds> bounds(static_cast<std::size_t>(planes));
    cpu::parallel_for(stream, planes, [&](std::int64_t plane) {
        Bounds of{image[static_cast<std::size_t>(plane * inner)], image[static_cast<std::size_t>(plane * inner)]};
        for (std::int64_t o = 0; o < outer; ++o) {
            const auto begin = image.begin() + (o * planes + plane) * inner;
            const auto [low, high] = std::minmax_element(begin, begin + inner);
            of = {std::min(of.low, *low), std::max(of.high, *high)};
        }
        bounds[static_cast<std::size_t>(plane)] = of;
    });
    return bounds;
}

void keep_within(Stream stream, const std::vector<Bounds>& bounds, const Extent& extent, int axis,
                 std::vector<float>& image) {
    const std::int64_t planes = static_cast<std::int64_t>(bounds.size()), inner = product(extent, axis + 1, 3);
    const std::int64_t rows = static_cast<std::int64_t>(image.size()) / inner;
    cpu::parallel_for(stream, rows, [&](std::int64_t row) {
        const Bounds& of = bounds[static_cast<std::size_t>(row % planes)];
        const auto begin = image.begin() + row * inner;
        std::transform(begin, begin + inner, begin, [&](float x) { return std::clamp(x, of.low, of.high); });
    });
}

/// Calls body(axis) for each axis whose side changes, in the order in which they are resampled: rows first, which lie
/// together, and last the one that is resampled by itself, after `planes_are_done`.
template <class Body, class Done>
void each_changed_axis(const Extent& from, const Extent& to, int separate, Body&& body, Done&& planes_are_done) {
    const auto changes = [&](int axis) {
        return from[static_cast<std::size_t>(axis)] != to[static_cast<std::size_t>(axis)];
    };
    for (int axis = 2; axis >= 0; --axis)
        if (axis != separate && changes(axis)) body(axis);
    planes_are_done();
    if (separate >= 0 && changes(separate)) body(separate);
}

}  // namespace

ResampledAxis::ResampledAxis(std::int64_t from, std::int64_t to, int order) : from_(from), order_(order) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    for (std::int64_t i = 0; i < to; ++i) taps_.push_back(taps_at((static_cast<double>(i) + 0.5) * scale - 0.5, order));
}

void ResampledAxis::run(Stream stream, const float* x, std::int64_t outer, std::int64_t inner, float* y) const {
    const std::int64_t columns = outer * inner, groups = (columns + kTogether - 1) / kTogether;
    cpu::parallel_ranges(stream, groups, [&](std::int64_t first, std::int64_t last) {
        std::vector<double> room(static_cast<std::size_t>((from_ + 2 * kMargin) * kTogether));
        auto* const lines = reinterpret_cast<Lines*>(room.data()) + kMargin;
        for (std::int64_t group = first; group < last; ++group) {
            const std::int64_t begin = group * kTogether, count = std::min(kTogether, columns - begin);
            const auto at = [&](std::int64_t l, std::int64_t side) {
                return (begin + l) / inner * side * inner + (begin + l) % inner;
            };
            for (std::int64_t l = 0; l < count; ++l)
                for (std::int64_t k = 0, from = at(l, from_); k < from_; ++k) lines[k][l] = x[from + k * inner];
            if (order_ == 3)
                make_coefficients(lines, from_);
            else
                repeat_edges(lines, from_);
            for (std::int64_t i = 0; i < to(); ++i) {
                const Taps& tap = taps(i);
                const Lines* const near = lines + tap.first;
                double sums[kTogether] = {};
                // Where a weight is 0 its value may lie outside of the margin's reach, or be infinite.
                for (std::int64_t t = 0; t < 4; ++t)
                    if (const double weight = tap.weights[static_cast<std::size_t>(t)]; weight != 0)
                        for (std::int64_t l = 0; l < kTogether; ++l) sums[l] += weight * near[t][l];
                for (std::int64_t l = 0; l < count; ++l) y[at(l, to()) + i * inner] = static_cast<float>(sums[l]);
            }
        }
    });
}

AxisOrders axis_orders(const Resampling& resampling, const std::array<double, 3>& from_spacing,
                       const std::array<double, 3>& to_spacing) {
    AxisOrders made{{resampling.order, resampling.order, resampling.order}, -1};
    if (resampling.force_separate_z) {
        if (*resampling.force_separate_z) made.separate = lowest_axis(from_spacing);
    } else if (is_anisotropic(from_spacing)) {
        made.separate = lowest_axis(from_spacing);
    } else if (is_anisotropic(to_spacing)) {
        made.separate = lowest_axis(to_spacing);
    }
    if (made.separate >= 0) made.orders[static_cast<std::size_t>(made.separate)] = resampling.order_z;
    return made;
}

Extent resampled_extent(const Extent& extent, const std::array<double, 3>& from_spacing,
                        const std::array<double, 3>& to_spacing) {
    Extent to{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        to[axis] = static_cast<std::int64_t>(
            std::nearbyint(from_spacing[axis] / to_spacing[axis] * static_cast<double>(extent[axis])));
    return to;
}

std::int64_t resampling_bytes(const Extent& from, const Extent& to, const AxisOrders& orders) {
    Extent extent = from;
    std::int64_t most = product(from, 0, 3);
    const auto count = [&](int axis) {
        const std::int64_t before = product(extent, 0, 3);
        extent[static_cast<std::size_t>(axis)] = to[static_cast<std::size_t>(axis)];
        most = std::max(most, before + product(extent, 0, 3));
    };
    each_changed_axis(from, to, orders.separate, count, [] {});
    return 4 * most;
}

std::vector<float> resample(Stream stream, std::vector<float> image, const Extent& from, const Extent& to,
                            const AxisOrders& orders) {
    if (from == to) return image;
    const std::vector<Bounds> bounds = bounds_of(stream, image, from, orders.separate);
    Extent extent = from;
    const auto resample_axis = [&](int axis) {
        const auto a = static_cast<std::size_t>(axis);
        const ResampledAxis along(from[a], to[a], orders.orders[a]);
        const std::int64_t outer = product(extent, 0, axis), inner = product(extent, axis + 1, 3);
        extent[a] = to[a];
        std::vector<float> result(static_cast<std::size_t>(product(extent, 0, 3)));
        along.run(stream, image.data(), outer, inner, result.data());
        image = std::move(result);
    };
    each_changed_axis(from, to, orders.separate, resample_axis,
                      [&] { keep_within(stream, bounds, extent, orders.separate, image); });
    return image;
}

}  // namespace iwseg::nnunet
