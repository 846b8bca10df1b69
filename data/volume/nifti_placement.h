#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace iwseg {

/// Voxel (i, j, k, 1) to a place, three rows (the fourth is 0 0 0 1).
using Affine = std::array<std::array<double, 4>, 3>;

/// Where a NIfTI header says that its scan lies, as it says it: in its own unit, both forms, claimed or not. It is kept
/// with the geometry that was taken from it, so that results say the same and lie over the scan in every program,
/// whichever of the forms that program goes by.
struct NiftiPlacement {
    int qform_code = 0, sform_code = 0;          ///< 1 to 5: the form is claimed; 0: it is not
    std::array<double, 3> quaternion{};          ///< quatern_b, quatern_c, quatern_d
    std::array<double, 3> qoffset{};             ///< of voxel (0, 0, 0) by the qform
    std::array<double, 4> pixdim{{1, 1, 1, 1}};  ///< qfac (-1 or 1), then a voxel's size along i, j, k
    Affine srow{};                               ///< the sform
    int units = 0;                               ///< xyzt_units: space in bits 0 to 2, time above

    bool is_claimed() const { return qform_code > 0 || sform_code > 0; }
    bool has_unit() const { return (units & 7) != 0; }
    double mm_of_unit() const;  ///< 1 where no unit is named

    /// Voxel to mm by the form that iwseg goes by: the sform where it is claimed, else the qform where that is, passing
    /// over one that spans no volume; where neither is claimed as nibabel does: by pixdim, the first axis to the left,
    /// 0 in the middle of the scan. Nothing where no form is usable.
    std::optional<Affine> affine(const std::array<std::int64_t, 3>& shape) const;
    /// Why affine() is nothing, as a sentence's second half: "has …".
    std::string fault() const;

    /// The placement of the part of the scan that begins at this voxel.
    NiftiPlacement from(const std::array<std::int64_t, 3>& voxel) const;
};

/// Whether axes have a length above 0, span a volume (by a thousandth of a degree), and places are finite numbers.
bool spans_volume(const Affine& affine, const std::array<std::int64_t, 3>& shape);

/// What a NIfTI header says of a scan whose place comes from elsewhere: an sform in mm of the scanner, and the qform
/// too where a rotation and spacing say the same within 0.001 mm over the scan.
NiftiPlacement placement_of(const Affine& affine, const std::array<std::int64_t, 3>& shape);

}  // namespace iwseg
