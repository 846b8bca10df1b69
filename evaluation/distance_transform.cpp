#include "evaluation/distance_transform.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/parallel.h"

namespace iwseg {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kBlockColumns = 16;  // lines side by side that are read together: two cache lines of doubles

/// Along a row the seeds themselves are looked for, from both sides.
void distances_in_row(const std::uint8_t* seeds, std::int64_t width, double spacing, double* out) {
    std::int64_t last = -1;
    for (std::int64_t w = 0; w < width; ++w) {
        if (seeds[w]) last = w;
        const double away = static_cast<double>(w - last) * spacing;
        out[w] = last < 0 ? kInfinity : away * away;
    }
    last = -1;
    for (std::int64_t w = width - 1; w >= 0; --w) {
        if (seeds[w]) last = w;
        const double away = static_cast<double>(last - w) * spacing;
        if (last >= 0) out[w] = std::min(out[w], away * away);
    }
}

/// The parabolas of one line that are lowest somewhere, and from where on each is.
class LowerEnvelope {
  public:
    explicit LowerEnvelope(std::int64_t length) : apex_(length), begin_(length) {}

    /// Replaces value[q] by the least of value[p] + (spacing (q - p))² over all p.
    void apply(double* value, std::int64_t length, double spacing, double* scratch) {
        std::int64_t count = 0;
        for (std::int64_t q = 0; q < length; ++q) {
            if (value[q] == kInfinity) continue;
            double from = -kInfinity;
            while (count > 0 && (from = crossing(value, apex_[count - 1], q, spacing)) <= begin_[count - 1]) --count;
            if (count == 0) from = -kInfinity;
            apex_[count] = q;
            begin_[count++] = from;
        }
        if (count == 0) return;
        std::int64_t lowest = 0;
        for (std::int64_t q = 0; q < length; ++q) {
            const double place = static_cast<double>(q) * spacing;
            while (lowest + 1 < count && begin_[lowest + 1] < place) ++lowest;
            const double away = static_cast<double>(q - apex_[lowest]) * spacing;
            scratch[q] = value[apex_[lowest]] + away * away;
        }
        std::copy(scratch, scratch + length, value);
    }

  private:
    /// Where, in mm, the parabola over q falls below the one over p < q.
    static double crossing(const double* value, std::int64_t p, std::int64_t q, double spacing) {
        const double a = static_cast<double>(p) * spacing, b = static_cast<double>(q) * spacing;
        return ((value[q] - value[p]) / (b - a) + a + b) / 2;
    }

    std::vector<std::int64_t> apex_;
    std::vector<double> begin_;
};

/// Lines of `length` cells, `stride` apart, beside each other in groups of `stride` lines. needed: of each line of a
/// group; blocks without any are left as they are. Groups that hold no distance yet (`empty`) stay so.
void pass_along(double* values, std::int64_t length, std::int64_t stride, double spacing,
                const std::vector<std::uint8_t>& needed, const std::vector<std::uint8_t>& empty, Stream host) {
    const std::int64_t blocks = (stride + kBlockColumns - 1) / kBlockColumns;
    const auto groups = static_cast<std::int64_t>(empty.size());
    cpu::parallel_ranges(host, groups * blocks, [&](std::int64_t first_task, std::int64_t last_task) {
        LowerEnvelope envelope(length);
        std::vector<double> lines(kBlockColumns * length), scratch(length);
        for (std::int64_t task = first_task; task < last_task; ++task) {
            const std::int64_t column = task % blocks * kBlockColumns;
            const std::int64_t columns = std::min(kBlockColumns, stride - column);
            const auto asked = needed.begin() + column;
            if (empty[task / blocks] || std::all_of(asked, asked + columns, [](auto line) { return line == 0; }))
                continue;
            double* first = values + task / blocks * length * stride + column;
            for (std::int64_t q = 0; q < length; ++q)
                for (std::int64_t c = 0; c < columns; ++c) lines[c * length + q] = first[q * stride + c];
            for (std::int64_t c = 0; c < columns; ++c)
                envelope.apply(lines.data() + c * length, length, spacing, scratch.data());
            for (std::int64_t q = 0; q < length; ++q)
                for (std::int64_t c = 0; c < columns; ++c) first[q * stride + c] = lines[c * length + q];
        }
    });
}

}  // namespace

std::vector<double> squared_distances(const std::vector<std::uint8_t>& seeds, const std::vector<std::uint8_t>& wanted,
                                      const std::array<std::int64_t, 3>& shape, const std::array<double, 3>& spacing,
                                      Stream host) {
    const std::int64_t depth = shape[0], height = shape[1], width = shape[2], slice = height * width;
    std::vector<double> values(seeds.size());
    std::vector<std::uint8_t> columns(slice, 0), places(width, 0), empty(depth, 1);
    cpu::parallel_for(host, depth * height, [&](std::int64_t row) {
        distances_in_row(seeds.data() + row * width, width, spacing[2], values.data() + row * width);
    });
    for (std::int64_t d = 0; d < depth; ++d) {
        for (std::int64_t c = 0; c < slice; ++c) columns[c] |= wanted[d * slice + c];
        const auto first = seeds.begin() + d * slice;
        empty[d] = std::all_of(first, first + slice, [](std::uint8_t seed) { return seed == 0; });
    }
    for (std::int64_t c = 0; c < slice; ++c) places[c % width] |= columns[c];
    if (height > 1) pass_along(values.data(), height, width, spacing[1], places, empty, host);
    if (depth > 1) pass_along(values.data(), depth, slice, spacing[0], columns, {0}, host);
    return values;
}

}  // namespace iwseg
