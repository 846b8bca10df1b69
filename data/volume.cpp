#include "data/volume.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/error.h"

namespace iwseg {

std::array<double, 3> Geometry::spacing() const {
    std::array<double, 3> mm{};
    for (int axis = 0; axis < 3; ++axis) mm[axis] = std::hypot(affine[0][axis], affine[1][axis], affine[2][axis]);
    return mm;
}

namespace {

double farthest_corner(const Geometry& a, const Geometry& b) {
    double farthest = 0.0;
    for (int corner = 0; corner < 8; ++corner) {
        std::array<double, 4> voxel{0, 0, 0, 1};
        for (int axis = 0; axis < 3; ++axis)
            if (corner >> axis & 1) voxel[axis] = static_cast<double>(a.shape[axis] - 1);
        std::array<double, 3> apart{};
        for (int row = 0; row < 3; ++row)
            for (int axis = 0; axis < 4; ++axis)
                apart[row] += (a.affine[row][axis] - b.affine[row][axis]) * voxel[axis];
        farthest = std::max(farthest, std::hypot(apart[0], apart[1], apart[2]));
    }
    return farthest;
}

}  // namespace

void require_same_geometry(const Geometry& a, const std::filesystem::path& file_a, const Geometry& b,
                           const std::filesystem::path& file_b) {
    if (a.shape != b.shape)
        throw InputError(fmt::format("{} has {} x {} x {} voxels but {} has {} x {} x {}; they must be the same",
                                     file_a.string(), a.shape[0], a.shape[1], a.shape[2], file_b.string(), b.shape[0],
                                     b.shape[1], b.shape[2]));
    const double apart = farthest_corner(a, b);
    if (!(apart <= 1e-3))
        throw InputError(
            fmt::format("{} and {} lie {:.4g} mm apart by their affines; they must be the same within "
                        "0.001 mm",
                        file_a.string(), file_b.string(), apart));
}

}  // namespace iwseg
