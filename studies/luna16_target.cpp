#include "studies/luna16_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/extent.h"
#include "studies/polygon_fill.h"

namespace iwseg {
namespace {

constexpr std::int64_t kHitDistance = 10;  // voxels
constexpr int kEnoughExperts = 2;          // of four

std::vector<Extent> annotated_voxels(const ScanFrame& frame, const std::vector<NoduleAnnotation>& annotations,
                                     const std::filesystem::path& scan) {
    std::vector<Extent> voxels;
    for (const NoduleAnnotation& nodule : annotations) {
        const Extent& voxel = voxels.emplace_back(frame.voxel(nodule.centre));
        for (int axis = 0; axis < 3; ++axis)
            if (voxel[axis] < 0 || voxel[axis] >= frame.shape[axis])
                throw InputError(fmt::format(
                    "{} has {} x {} x {} voxels, but annotations.csv has a nodule at ({}, {}, {}) mm, which is voxel "
                    "({}, {}, {})",
                    scan.string(), frame.shape[0], frame.shape[1], frame.shape[2], nodule.centre[0], nodule.centre[1],
                    nodule.centre[2], voxel[0], voxel[1], voxel[2]));
    }
    return voxels;
}

/// The mean of all points of all contours. Sums are taken in the file's order, as numpy takes them.
Extent centre_of(const Nodule& nodule, const ScanFrame& frame) {
    std::array<double, 3> sum{};
    double points = 0;
    for (const Roi& roi : nodule.rois)
        for (const auto& [x, y] : roi.points) {
            sum[0] += x;
            sum[1] += y;
            sum[2] += frame.along(2, roi.z_position);
            ++points;
        }
    Extent centre{};
    for (int axis = 0; axis < 3; ++axis) centre[axis] = std::llrint(sum[axis] / points);
    return centre;
}

bool is_annotated(const Nodule& nodule, const ScanFrame& frame, const std::vector<Extent>& annotated) {
    const Extent centre = centre_of(nodule, frame);
    return std::any_of(annotated.begin(), annotated.end(), [&](const Extent& voxel) {
        std::int64_t squares = 0;
        for (int axis = 0; axis < 3; ++axis) squares += (centre[axis] - voxel[axis]) * (centre[axis] - voxel[axis]);
        return squares <= kHitDistance * kHitDistance;
    });
}

/// The nodule's voxels inside the box, as indices into it, each once. outside: counts contours in slices that are not.
std::vector<std::int64_t> fill_nodule(const Nodule& nodule, const ScanFrame& frame, const VoxelBox& box, int& outside) {
    const Extent shape = box.shape();
    std::vector<std::int64_t> voxels;
    for (const Roi& roi : nodule.rois) {
        const double along = frame.along(2, roi.z_position);
        if (!(along > -1.0 && along < static_cast<double>(frame.shape[2]))) {
            ++outside;
            continue;
        }
        const auto z = static_cast<std::int64_t>(along);  // truncated, as int() of Python
        if (z < box.first[2] || z >= box.end[2]) continue;
        for (const auto& [x, y] : fill_polygon(roi.points, {frame.shape[0], frame.shape[1]})) {
            if (x < box.first[0] || x >= box.end[0] || y < box.first[1] || y >= box.end[1]) continue;
            voxels.push_back(((x - box.first[0]) * shape[1] + y - box.first[1]) * shape[2] + z - box.first[2]);
        }
    }
    std::sort(voxels.begin(), voxels.end());
    voxels.erase(std::unique(voxels.begin(), voxels.end()), voxels.end());
    return voxels;
}

}  // namespace

double ScanFrame::along(int axis, double mm) const {
    const double c = reversed[axis] ? 2 * origin[axis] - mm : mm;
    return (c - origin[axis]) / spacing[axis];
}

Extent ScanFrame::voxel(const std::array<double, 3>& mm) const {
    Extent voxel{};
    for (int axis = 0; axis < 3; ++axis) voxel[axis] = std::llrint(along(axis, mm[axis]));
    return voxel;
}

ScanFrame frame_of(const MetaHeader& header, const std::filesystem::path& file) {
    constexpr double tolerance = 1e-6;
    ScanFrame frame{header.shape, header.offset, header.spacing, {}};
    for (int row = 0; row < 3; ++row)
        for (int axis = 0; axis < 3; ++axis) {
            const double along = header.direction[row][axis];
            if (std::abs(std::abs(along) - (row == axis ? 1.0 : 0.0)) > tolerance)
                throw InputError(file.string() +
                                 " is oblique by its TransformMatrix; LUNA16's scans lie along the axes");
            if (row == axis) frame.reversed[axis] = along < 0;
        }
    return frame;
}

NoduleTarget draw_target(const ScanFrame& frame, const std::vector<NoduleAnnotation>& annotations,
                         const LidcReading& reading, const VoxelBox& box, const std::filesystem::path& scan) {
    const Extent shape = box.shape();
    NoduleTarget target{std::vector<std::uint8_t>(static_cast<std::size_t>(shape[0] * shape[1] * shape[2])), {}};
    const std::vector<Extent> annotated = annotated_voxels(frame, annotations, scan);
    int outside = 0;
    for (const auto& session : reading.sessions)
        for (const Nodule& nodule : session) {
            if (!is_annotated(nodule, frame, annotated)) continue;
            for (const std::int64_t v : fill_nodule(nodule, frame, box, outside))
                if (target.voxels[v] < kEnoughExperts) ++target.voxels[v];
        }
    for (std::uint8_t& voxel : target.voxels) voxel = voxel >= kEnoughExperts;
    if (outside > 0)
        target.notes.push_back(fmt::format("{} contours of the reading lie in slices outside of the scan", outside));
    return target;
}

}  // namespace iwseg
