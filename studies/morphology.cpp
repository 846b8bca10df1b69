#include "studies/morphology.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/extent.h"

// City-block distance is a sum over axes, so that the distance to the nearest source is found axis by axis, each by one
// pass forth and one back: distance = min(distance, neighbour's + 1). Distances stop at 255, which fits the mask's
// bytes.

namespace iwseg {
namespace {

constexpr std::uint8_t kFarAway = 255;

/// row = min(row, nearer + 1)
void relax_row(std::uint8_t* row, const std::uint8_t* nearer, std::int64_t length) {
    for (std::int64_t k = 0; k < length; ++k) {
        const std::uint8_t next = nearer[k] == kFarAway ? kFarAway : static_cast<std::uint8_t>(nearer[k] + 1);
        row[k] = std::min(row[k], next);
    }
}

/// Relaxes `count` rows, `stride` bytes apart, forth and back. beyond: the distance just outside of both ends.
void relax_rows(std::uint8_t* first, std::int64_t count, std::int64_t stride, std::int64_t length,
                const std::vector<std::uint8_t>& beyond) {
    relax_row(first, beyond.data(), length);
    for (std::int64_t r = 1; r < count; ++r) relax_row(first + r * stride, first + (r - 1) * stride, length);
    relax_row(first + (count - 1) * stride, beyond.data(), length);
    for (std::int64_t r = count - 1; r-- > 0;) relax_row(first + r * stride, first + (r + 1) * stride, length);
}

void relax_line(std::uint8_t* line, std::int64_t length, std::uint8_t beyond) {
    int distance = beyond;
    for (std::int64_t k = 0; k < length; ++k) {
        distance = std::min<int>(line[k], distance + 1);
        line[k] = static_cast<std::uint8_t>(distance);
    }
    distance = beyond;
    for (std::int64_t k = length; k-- > 0;) {
        distance = std::min<int>(line[k], distance + 1);
        line[k] = static_cast<std::uint8_t>(distance);
    }
}

/// Turns 0 (source) and far_away into distances from the nearest source. beyond: 0 where all outside is source.
void measure_distances(std::vector<std::uint8_t>& volume, const Extent& shape, std::uint8_t beyond) {
    const auto [ni, nj, nk] = shape;
    const std::int64_t plane = nj * nk;
    const std::vector<std::uint8_t> outside(static_cast<std::size_t>(nk), beyond);
    for (std::int64_t i = 0; i < ni; ++i) {
        for (std::int64_t j = 0; j < nj; ++j) relax_line(&volume[i * plane + j * nk], nk, beyond);
        relax_rows(&volume[i * plane], nj, nk, nk, outside);
    }
    for (std::int64_t j = 0; j < nj; ++j) relax_rows(&volume[j * nk], ni, plane, nk, outside);
}

void require_steps(int steps) {
    if (steps < 0 || steps > kMostMorphologySteps)
        throw InputError(fmt::format("a mask cannot be grown or shrunk by {} voxels: 0 to {} are possible", steps,
                                     kMostMorphologySteps));
}

}  // namespace

void dilate(std::vector<std::uint8_t>& mask, const Extent& shape, int steps) {
    require_steps(steps);
    if (mask.empty()) return;
    for (std::uint8_t& voxel : mask) voxel = voxel ? 0 : kFarAway;
    if (steps > 0) measure_distances(mask, shape, kFarAway);
    for (std::uint8_t& voxel : mask) voxel = voxel <= steps;
}

void erode(std::vector<std::uint8_t>& mask, const Extent& shape, int steps, Beyond beyond) {
    require_steps(steps);
    if (mask.empty()) return;
    for (std::uint8_t& voxel : mask) voxel = voxel ? kFarAway : 0;
    if (steps > 0) measure_distances(mask, shape, beyond == Beyond::background ? 0 : kFarAway);
    for (std::uint8_t& voxel : mask) voxel = voxel > steps;
}

}  // namespace iwseg
