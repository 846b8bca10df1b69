#include "studies/polygon_fill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/error.h"

// A pixel belongs to the polygon where an edge's line is drawn through it, or where a ray along its row, from outside,
// has crossed an odd number of edges. The lines cover all pixels at which rounding of the crossings could matter.
//
//     . . a . .     row by row, the edge from (x0, y0) down to (x1, y1) is crossed in rows y0 .. y1 - 1, so that a
//     . / # \ .     corner between an upper and a lower edge counts once, and the lowest or highest corner of a
//     b - - - c     polygon twice or not at all

namespace iwseg {
namespace {

using Point = std::array<std::int64_t, 2>;

constexpr std::int64_t kFarthest = std::int64_t{1} << 29;  // so that products of two lengths fit 64 bits

/// Pixels first .. last of one row.
struct Run {
    std::int64_t row, first, last;

    auto operator<=>(const Run&) const = default;
};

class PolygonFill {
  public:
    explicit PolygonFill(const std::array<std::int64_t, 2>& shape) : columns_(shape[0]), rows_(shape[1]) {}

    /// The line of Bresenham (1965), drawn from its left end: half-way points stay on the left end's side.
    void draw_line(Point a, Point b) {
        if (b < a) std::swap(a, b);
        const std::int64_t wide = b[0] - a[0], high = std::abs(b[1] - a[1]), down = b[1] >= a[1] ? 1 : -1;
        if (wide >= high) {
            const std::int64_t last = std::min(b[0], columns_ - 1);
            for (std::int64_t x = std::max<std::int64_t>(a[0], 0); x <= last; ++x)
                add(a[1] + down * half_down(x - a[0], high, wide), x, x);
        } else {
            const std::int64_t last = std::min(std::max(a[1], b[1]), rows_ - 1);
            for (std::int64_t y = std::max<std::int64_t>(std::min(a[1], b[1]), 0); y <= last; ++y) {
                const std::int64_t x = a[0] + half_down(std::abs(y - a[1]), wide, high);
                add(y, x, x);
            }
        }
    }

    void cross_edge(Point a, Point b) {
        if (b[1] < a[1]) std::swap(a, b);
        const std::int64_t end = std::min(b[1], rows_);
        for (std::int64_t y = std::max<std::int64_t>(a[1], 0); y < end; ++y)
            crossings_.emplace_back(y, static_cast<double>(a[0]) + static_cast<double>((y - a[1]) * (b[0] - a[0])) /
                                                                       static_cast<double>(b[1] - a[1]));
    }

    std::vector<std::array<int, 2>> pixels() {
        std::sort(crossings_.begin(), crossings_.end());
        // Each row has an even number, as a closed line comes back.
        for (std::size_t c = 0; c + 1 < crossings_.size(); c += 2)
            add(crossings_[c].first, static_cast<std::int64_t>(std::ceil(crossings_[c].second)),
                static_cast<std::int64_t>(std::floor(crossings_[c + 1].second)));
        std::sort(runs_.begin(), runs_.end());
        std::vector<std::array<int, 2>> result;
        std::int64_t row = -1, next = 0;
        for (const Run& run : runs_) {
            if (run.row != row) next = 0;
            row = run.row;
            for (next = std::max(next, run.first); next <= run.last; ++next)
                result.push_back({static_cast<int>(next), static_cast<int>(row)});
        }
        return result;
    }

  private:
    /// steps * rise / length rounded to the nearest whole number, halves down.
    static std::int64_t half_down(std::int64_t steps, std::int64_t rise, std::int64_t length) {
        return length == 0 ? 0 : (2 * steps * rise + length - 1) / (2 * length);
    }

    void add(std::int64_t row, std::int64_t first, std::int64_t last) {
        first = std::max<std::int64_t>(first, 0);
        last = std::min(last, columns_ - 1);
        if (row >= 0 && row < rows_ && first <= last) runs_.push_back({row, first, last});
    }

    std::int64_t columns_, rows_;
    std::vector<std::pair<std::int64_t, double>> crossings_;  // row, place along x
    std::vector<Run> runs_;
};

}  // namespace

std::vector<std::array<int, 2>> fill_polygon(std::span<const std::array<int, 2>> points,
                                             const std::array<std::int64_t, 2>& shape) {
    PolygonFill fill(shape);
    for (std::size_t p = 0; p < points.size(); ++p) {
        const auto& [x, y] = points[p];
        if (std::max(std::abs(std::int64_t{x}), std::abs(std::int64_t{y})) > kFarthest)
            throw InputError(
                fmt::format("a contour has the point ({}, {}), expected coordinates within {}", x, y, kFarthest));
        const auto& [before_x, before_y] = points[p == 0 ? points.size() - 1 : p - 1];
        const Point from{before_x, before_y}, to{x, y};
        fill.draw_line(from, to);
        fill.cross_edge(from, to);
    }
    return fill.pixels();
}

}  // namespace iwseg
