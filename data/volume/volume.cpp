#include "data/volume/volume.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace iwseg {

std::array<double, 3> Geometry::spacing() const {
    std::array<double, 3> mm{};
    for (int axis = 0; axis < 3; ++axis) mm[axis] = std::hypot(affine[0][axis], affine[1][axis], affine[2][axis]);
    return mm;
}

Geometry Geometry::part(const std::array<std::int64_t, 3>& first, const std::array<std::int64_t, 3>& part_shape) const {
    Geometry inner = *this;
    inner.shape = part_shape;
    for (int row = 0; row < 3; ++row)
        for (int axis = 0; axis < 3; ++axis)
            inner.affine[row][3] += affine[row][axis] * static_cast<double>(first[axis]);
    if (nifti) {
        inner.nifti = nifti->from(first);
        // Without a claimed frame a scan's middle is 0, and so is a part's.
        if (const auto placed = inner.nifti->affine(part_shape)) inner.affine = *placed;
    }
    return inner;
}

std::optional<std::int32_t> label_of(double value, double scl_slope) {
    const double nearest = std::nearbyint(value);
    if (!(nearest >= std::numeric_limits<std::int32_t>::min() && nearest <= std::numeric_limits<std::int32_t>::max()))
        return std::nullopt;
    constexpr double always = 1e-4, never = 1e-2, f32_rounding = 0x1p-22;
    const double tolerance =
        std::min(never, std::max({always, std::abs(value) * f32_rounding, std::abs(scl_slope) / 2}));
    if (!(std::abs(value - nearest) <= tolerance)) return std::nullopt;
    return static_cast<std::int32_t>(nearest);
}

namespace {

constexpr double kMostApart = 0.01;  // voxels

/// How far apart the farthest corners lie.
struct Distance {
    double voxels = 0.0;  ///< of a, along that one of its axes where it is most
    double mm = 0.0;
};

double determinant(const std::array<std::array<double, 3>, 3>& m) {
    return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
           m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

/// The steps along the affine's axes that lead as far as `mm` does, by Cramer's rule.
std::array<double, 3> steps_along(const Affine& affine, const std::array<double, 3>& mm) {
    std::array<std::array<double, 3>, 3> axes{};
    for (int row = 0; row < 3; ++row) std::copy_n(affine[row].begin(), 3, axes[row].begin());
    std::array<double, 3> steps{};
    for (int axis = 0; axis < 3; ++axis) {
        auto replaced = axes;
        for (int row = 0; row < 3; ++row) replaced[row][axis] = mm[row];
        steps[axis] = determinant(replaced) / determinant(axes);
    }
    return steps;
}

Distance farthest_corner(const Affine& a, const Affine& b, const std::array<std::int64_t, 3>& shape) {
    Distance farthest;
    for (int corner = 0; corner < 8; ++corner) {
        std::array<double, 4> voxel{0, 0, 0, 1};
        for (int axis = 0; axis < 3; ++axis)
            if (corner >> axis & 1) voxel[axis] = static_cast<double>(shape[axis] - 1);
        std::array<double, 3> apart{};
        for (int row = 0; row < 3; ++row)
            for (int axis = 0; axis < 4; ++axis) apart[row] += (a[row][axis] - b[row][axis]) * voxel[axis];
        for (const double steps : steps_along(a, apart)) farthest.voxels = std::max(farthest.voxels, std::abs(steps));
        farthest.mm = std::max(farthest.mm, std::hypot(apart[0], apart[1], apart[2]));
    }
    return farthest;
}

/// What programs take the placement for, ours first. other: whose unit counts where this one names none.
std::vector<Affine> readings(const Geometry& geometry, const Geometry& other) {
    std::vector<Affine> affines{geometry.affine};
    if (!geometry.nifti) return affines;
    if (!geometry.nifti->is_claimed()) {
        const auto mm = geometry.spacing();
        affines.push_back({{{mm[0], 0, 0, 0}, {0, mm[1], 0, 0}, {0, 0, mm[2], 0}}});    // the standard's method 1
        affines.push_back({{{-mm[0], 0, 0, 0}, {0, -mm[1], 0, 0}, {0, 0, mm[2], 0}}});  // ITK's
    }
    if (!geometry.nifti->has_unit() && other.nifti && other.nifti->has_unit())
        for (std::size_t i = 0, count = affines.size(); i < count; ++i) {
            Affine scaled = affines[i];
            for (auto& row : scaled)
                for (double& entry : row) entry *= other.nifti->mm_of_unit();
            affines.push_back(scaled);
        }
    return affines;
}

}  // namespace

void require_same_geometry(const Geometry& a, const std::filesystem::path& file_a, const Geometry& b,
                           const std::filesystem::path& file_b) {
    if (a.shape != b.shape)
        throw InputError(fmt::format("{} has {} x {} x {} voxels but {} has {} x {} x {}; they must be the same",
                                     file_a.string(), a.shape[0], a.shape[1], a.shape[2], file_b.string(), b.shape[0],
                                     b.shape[1], b.shape[2]));
    for (const Affine& one : readings(a, b))
        for (const Affine& two : readings(b, a))
            if (farthest_corner(one, two, a.shape).voxels <= kMostApart) return;
    const Distance apart = farthest_corner(a.affine, b.affine, a.shape);
    throw InputError(
        fmt::format("{} and {} lie {:.4g} mm apart by their headers, {:.3g} voxels; they must be the same within {} "
                    "voxels",
                    file_a.string(), file_b.string(), apart.mm, apart.voxels, kMostApart));
}

}  // namespace iwseg
