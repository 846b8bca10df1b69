#pragma once

#include <array>
#include <vector>

#include "base/extent.h"
#include "data/volume/volume.h"
#include "kernels/device/declare.h"
#include "nnunet/plans.h"

namespace iwseg::nnunet {

/// Where an image that a network sees lies in its scan. Axes are those of nnU-Net's arrays, transposed by the plan; the
/// arrays are (z, y, x) of the file or, for readers that want it so, of its RAS form. The scan itself stays as it is.
struct Placement {
    Extent scan{}, first{}, cropped{}, resampled{};  ///< voxels of the scan, before the crop, of it, of what is seen
    std::array<double, 3> spacing{};                 ///< mm a voxel of the scan
    Orientation orientation{};                       ///< what x, y, z of the arrays are of the file's i, j, k
    std::array<int, 3> transpose{0, 1, 2};           ///< which axis of the arrays each is

    /// Which axis of the file (i, j, k) one of these is.
    std::size_t source_axis(std::size_t axis) const;
    /// How many voxels of the file's array (Volume) lie between neighbours along each of these axes: below 0 where the
    /// file's axis is reversed.
    Extent strides() const;
    /// Where the first voxel along all of these axes lies in the file's array.
    std::int64_t origin() const;
    /// The sides of nnU-Net's arrays before the plan transposes them: those of probabilities that it writes.
    Extent array_sides() const;
};

constexpr std::int64_t kMostImageSide = 1 << 16;  ///< voxels of an image at a model's spacing

struct Preprocessed {
    Placement placement;
    std::vector<float> image;  ///< (C, D, H, W): placement.resampled
};

/// Transposed, cropped to where any channel is not 0, normalised and resampled: what nnU-Net's DefaultPreprocessor does
/// to a scan. channels: of one geometry, a volume each; they are taken over, and freed one by one. Throws InputError
/// where there are not as many as the plan has, a value is not finite, or one of an RGB image is not within 0 and 255.
Preprocessed preprocess(Stream host, std::vector<Volume<float>> channels, const Plans& plans);

/// Where a scan lies that is not cropped and not resampled yet.
Placement placement_of(const Geometry& geometry, const Plans& plans);

/// Memory that preprocess takes at its peak, its arguments and its result included, in bytes, for a scan of that
/// placement: a bound, as less of it may be seen.
std::int64_t preprocessing_bytes(const Placement& placement, const Plans& plans);

}  // namespace iwseg::nnunet
