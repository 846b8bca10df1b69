#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "data/volume/meta_image.h"
#include "studies/crop.h"
#include "studies/lidc_reading.h"
#include "studies/luna16_annotations.h"

namespace iwseg {

/// LUNA16's coordinates against a scan's voxels. Axes are those of the LPS frame, each maybe reversed: some scans run
/// against x and y.
struct ScanFrame {
    std::array<std::int64_t, 3> shape{};
    std::array<double, 3> origin{}, spacing{};  ///< mm
    std::array<bool, 3> reversed{};

    /// Voxels from the first along an axis, not rounded: (c − origin)/spacing; where the axis is reversed, of 2·origin
    /// − c.
    double along(int axis, double mm) const;
    /// The voxel of a point: rounded to the nearest, halves to the even one (as numpy.round). May lie outside.
    std::array<std::int64_t, 3> voxel(const std::array<double, 3>& mm) const;
};

/// Throws InputError, naming the file, where the scan is oblique.
ScanFrame frame_of(const MetaHeader& header, const std::filesystem::path& file);

/// What the experts drew of the annotated nodules: 1 where at least half of four did.
struct NoduleTarget {
    std::vector<std::uint8_t> voxels;  ///< (D, H, W) of the box
    std::vector<std::string> notes;
};

/// The target as Shirokikh et al. (2020) make it. An expert's nodule counts where the mean of its contours' points
/// (voxels, rounded, halves to the even one) lies within 10 voxels of an annotated centre. Its contours are filled,
/// holes included, in slice int((z − origin)/spacing), truncated towards 0; a voxel that several contours of one nodule
/// hold counts once, one that several nodules hold once for each, whoever drew them. Contours in slices outside of the
/// scan are left out with a note. Throws InputError, naming scan, where an annotated centre lies outside of it.
NoduleTarget draw_target(const ScanFrame& frame, const std::vector<NoduleAnnotation>& annotations,
                         const LidcReading& reading, const VoxelBox& box, const std::filesystem::path& scan);

}  // namespace iwseg
