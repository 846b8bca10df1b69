#pragma once

#include <array>
#include <vector>

#include "base/extent.h"
#include "data/volume/volume.h"
#include "kernels/device/declare.h"
#include "nnunet/plans.h"

namespace iwseg::nnunet {

/// Where an image that a network sees lies in its scan. Axes are those of nnU-Net's arrays, transposed by the plan.
struct Placement {
    Extent scan{}, first{}, cropped{}, resampled{};  ///< voxels of the scan, before the crop, of it, of what is seen
    std::array<double, 3> spacing{};                 ///< mm a voxel of the scan
    std::array<int, 3> source_axes{};                ///< which axis of the file (i, j, k) each is

    /// How many voxels of the file's array (Volume) lie between neighbours along each of these axes.
    Extent strides() const;
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

/// Peak memory that preprocess takes beside its arguments, in bytes, for a scan of that placement: a bound.
std::int64_t preprocessing_bytes(const Placement& placement, const Plans& plans);

}  // namespace iwseg::nnunet
