#include "data/volume/nifti_placement.h"

#include <fmt/format.h>
#include <nifti2_io.h>

#include <algorithm>
#include <cmath>

#include "base/extent.h"

namespace iwseg {
namespace {

bool is_size(double value) {
    return std::isfinite(value) && value > 0;
}

bool has_sizes(const NiftiPlacement& placement) {
    return std::all_of(placement.pixdim.begin() + 1, placement.pixdim.end(), is_size);
}

Affine scaled(Affine affine, double factor) {
    for (auto& row : affine)
        for (double& entry : row) entry *= factor;
    return affine;
}

Affine rows_of(const nifti_dmat44& matrix) {
    Affine affine;
    for (int row = 0; row < 3; ++row)
        for (int column = 0; column < 4; ++column) affine[row][column] = matrix.m[row][column];
    return affine;
}

/// In the header's unit. Nothing where the quaternion is none of a rotation or qfac none of a side: readers differ
/// there.
std::optional<Affine> qform_of(const NiftiPlacement& p) {
    constexpr double rounding = 1e-6;  // of the sum of three squares in f32
    const auto [b, c, d] = p.quaternion;
    if (!has_sizes(p) || !(b * b + c * c + d * d <= 1 + rounding)) return std::nullopt;
    if (p.pixdim[0] < 0 && p.pixdim[0] != -1) return std::nullopt;
    return rows_of(nifti_quatern_to_dmat44(b, c, d, p.qoffset[0], p.qoffset[1], p.qoffset[2], p.pixdim[1], p.pixdim[2],
                                           p.pixdim[3], p.pixdim[0] < 0 ? -1 : 1));
}

Affine unclaimed(const NiftiPlacement& p, const Extent& shape) {
    Affine affine{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        affine[axis][axis] = p.pixdim[axis + 1] * (axis == 0 ? -1 : 1);
        affine[axis][3] = -affine[axis][axis] * static_cast<double>(shape[axis] - 1) / 2;
    }
    return affine;
}

}  // namespace

bool spans_volume(const Affine& affine, const Extent& shape) {
    constexpr double least_determinant = 1e-6;  // of axes of length 1
    std::array<std::array<double, 3>, 3> unit{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const double length = std::hypot(affine[0][axis], affine[1][axis], affine[2][axis]);
        if (!is_size(length)) return false;
        for (std::size_t row = 0; row < 3; ++row) {
            unit[row][axis] = affine[row][axis] / length;
            const double reach = std::abs(affine[row][axis]) * static_cast<double>(shape[axis]);
            if (!std::isfinite(reach + std::abs(affine[row][3]))) return false;
        }
    }
    const double determinant = unit[0][0] * (unit[1][1] * unit[2][2] - unit[1][2] * unit[2][1]) -
                               unit[0][1] * (unit[1][0] * unit[2][2] - unit[1][2] * unit[2][0]) +
                               unit[0][2] * (unit[1][0] * unit[2][1] - unit[1][1] * unit[2][0]);
    return std::abs(determinant) > least_determinant;
}

double NiftiPlacement::mm_of_unit() const {
    switch (units & 7) {
        case NIFTI_UNITS_METER:
            return 1e3;
        case NIFTI_UNITS_MICRON:
            return 1e-3;
        default:
            return 1;
    }
}

std::optional<Affine> NiftiPlacement::affine(const Extent& shape) const {
    const double mm = mm_of_unit();
    if (sform_code > 0 && spans_volume(scaled(srow, mm), shape)) return scaled(srow, mm);
    if (qform_code > 0)
        if (const auto qform = qform_of(*this); qform && spans_volume(scaled(*qform, mm), shape))
            return scaled(*qform, mm);
    if (is_claimed() || !has_sizes(*this)) return std::nullopt;
    const Affine centred = scaled(unclaimed(*this, shape), mm);
    return spans_volume(centred, shape) ? std::optional(centred) : std::nullopt;
}

std::string NiftiPlacement::fault() const {
    const std::string sizes = fmt::format("pixdim {:g}, {:g}, {:g}", pixdim[1], pixdim[2], pixdim[3]);
    if (!is_claimed()) return fmt::format("has neither qform nor sform and {}; expected sizes above 0", sizes);
    const auto [b, c, d] = quaternion;
    const std::string sform = "an sform whose axes span no volume",
                      qform = fmt::format("a qform that spans no volume ({}, quaternion {:g}, {:g}, {:g}, qfac {:g})",
                                          sizes, b, c, d, pixdim[0]);
    const std::string has = sform_code > 0 && qform_code > 0 ? sform + " and " + qform : sform_code > 0 ? sform : qform;
    return "has " + has + "; expected axes that do, or codes of 0 where its place is not known";
}

NiftiPlacement NiftiPlacement::from(const Extent& voxel) const {
    NiftiPlacement part = *this;
    const auto qform = qform_of(*this);
    for (std::size_t row = 0; row < 3; ++row)
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const auto steps = static_cast<double>(voxel[axis]);
            part.srow[row][3] += srow[row][axis] * steps;
            if (qform) part.qoffset[row] += (*qform)[row][axis] * steps;
        }
    return part;
}

NiftiPlacement placement_of(const Affine& affine, const Extent& shape) {
    NiftiPlacement placement;
    placement.sform_code = NIFTI_XFORM_SCANNER_ANAT;
    placement.units = NIFTI_UNITS_MM;
    placement.srow = affine;
    nifti_dmat44 matrix{};
    matrix.m[3][3] = 1.0;
    for (int row = 0; row < 3; ++row) std::copy(affine[row].begin(), affine[row].end(), matrix.m[row]);
    auto& [b, c, d] = placement.quaternion;
    auto& [x, y, z] = placement.qoffset;
    auto& [qfac, dx, dy, dz] = placement.pixdim;
    nifti_dmat44_to_quatern(matrix, &b, &c, &d, &x, &y, &z, &dx, &dy, &dz, &qfac);
    double worst = 0.0;  // mm over the scan
    if (const auto rigid = qform_of(placement))
        for (int row = 0; row < 3; ++row)
            for (int axis = 0; axis < 3; ++axis)
                worst = std::max(worst,
                                 std::abs((*rigid)[row][axis] - affine[row][axis]) * static_cast<double>(shape[axis]));
    else
        worst = 1.0;
    placement.qform_code = worst < 1e-3 ? NIFTI_XFORM_SCANNER_ANAT : NIFTI_XFORM_UNKNOWN;
    for (int axis = 0; axis < 3; ++axis)
        placement.pixdim[axis + 1] = std::hypot(affine[0][axis], affine[1][axis], affine[2][axis]);
    return placement;
}

}  // namespace iwseg
