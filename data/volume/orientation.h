#pragma once

#include <array>
#include <cstdint>

#include "data/volume/nifti_placement.h"

namespace iwseg {

/// How a scan's axes i, j, k run through the patient. Reading them in this order, backwards where they are reversed,
/// gives the scan's RAS form: the first axis to the right, the second to the front, the third to the head.
struct Orientation {
    std::array<int, 3> axes{0, 1, 2};  ///< which of i, j, k runs most along right-left, back-front, feet-head
    std::array<bool, 3> reversed{};    ///< whether it runs to the left, to the back, to the feet

    bool is_ras() const { return *this == Orientation{}; }
    bool operator==(const Orientation&) const = default;
};

/// Programs choose the same axes where the scan is less than 45 degrees oblique, and by these rules elsewhere.
enum class OrientationRule : std::uint8_t {
    nibabel,  ///< nibabel.orientations.io_orientation: of the closest rotation, the strongest axes choose first
    itk,      ///< itk::DICOMOrientation: of the axes as they are, the largest cosine that is left, again and again
};

/// affine: whose axes span a volume.
Orientation orientation_of(const Affine& affine, OrientationRule rule);

}  // namespace iwseg
