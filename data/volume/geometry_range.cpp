#include "data/volume/geometry_range.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

namespace iwseg {
namespace {

/// Of the world's axes the one that the file's axis runs along, which no earlier axis has taken.
int world_axis_of(const Geometry& geometry, int axis, const std::array<bool, 3>& taken) {
    int best = -1;
    for (int world = 0; world < 3; ++world)
        if (!taken[world] &&
            (best < 0 || std::abs(geometry.affine[world][axis]) > std::abs(geometry.affine[best][axis])))
            best = world;
    return best;
}

std::string range_text(double low, double high) {
    return high <= low * 1.01 ? fmt::format("{:.3g}", low) : fmt::format("{:.3g} to {:.3g}", low, high);
}

}  // namespace

std::string orientation_of(const Geometry& geometry) {
    // The axis that is the surest comes first, so that an oblique scan has no direction twice.
    const auto spacing = geometry.spacing();
    const auto certainty = [&](int axis) {
        double most = 0;
        for (int world = 0; world < 3; ++world)
            most = std::max(most, std::abs(geometry.affine[world][axis]) / spacing[axis]);
        return most;
    };
    std::array<int, 3> order{0, 1, 2};
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return certainty(a) > certainty(b); });
    std::array<bool, 3> taken{};
    std::string letters(3, ' ');
    for (const int axis : order) {
        const int world = world_axis_of(geometry, axis, taken);
        taken[world] = true;
        letters[axis] = "LRPAIS"[2 * world + (geometry.affine[world][axis] > 0)];
    }
    return letters;
}

std::string geometry_lines(const std::vector<Geometry>& scans) {
    if (scans.empty()) return "";
    std::array<double, 3> low = scans.front().spacing(), high = low;
    std::map<std::string, int> orientations;
    for (const Geometry& scan : scans) {
        const auto spacing = scan.spacing();
        for (int axis = 0; axis < 3; ++axis) {
            low[axis] = std::min(low[axis], spacing[axis]);
            high[axis] = std::max(high[axis], spacing[axis]);
        }
        ++orientations[orientation_of(scan)];
    }
    std::vector<std::string> ranges, counted;
    bool other_spacing = false;
    for (int axis = 0; axis < 3; ++axis) {
        ranges.push_back(range_text(low[axis], high[axis]));
        other_spacing |= high[axis] > low[axis] * 1.01;
    }
    for (const auto& [letters, count] : orientations)
        counted.push_back(orientations.size() == 1 ? letters : fmt::format("{} ({})", letters, count));
    std::string text =
        fmt::format("spacing  {} mm, orientation {}\n", fmt::join(ranges, " x "), fmt::join(counted, ", "));
    if (other_spacing || orientations.size() > 1)
        text += fmt::format(
            "warning  the scans' {} differ, and nothing is resampled: the network sees them\n"
            "         as they are, voxel for voxel\n",
            other_spacing && orientations.size() > 1 ? "spacings and orientations"
            : other_spacing                          ? "spacings"
                                                     : "orientations");
    return text;
}

}  // namespace iwseg
