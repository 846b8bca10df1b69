#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "data/volume/nifti_placement.h"
#include "data/volume/volume.h"

namespace iwseg {

/// What the header of a .nii file says, of version 1 or 2, every value within its range. The header's product of sizes
/// may still be more than any file holds: who takes memory compares it with the file first.
struct NiftiHeader {
    std::vector<std::int64_t> shape;      ///< of three axes or more; trailing axes of 1 are dropped
    int type = 0;                         ///< NIfTI's datatype: one of whole or real numbers
    int bytes_per_voxel = 0;              ///< 1 to 16
    int swapped_bytes = 0;                ///< elements of as many bytes have their order reversed; below 2: none
    std::int64_t offset = 0;              ///< where the voxels begin in the file
    double slope = 1.0, intercept = 0.0;  ///< a voxel's value is stored * slope + intercept
    NiftiPlacement placement;

    double voxels() const;  ///< of all axes; in floating point, since the product may not fit whole numbers
    /// Of the first three axes. Throws InputError where the placement is not usable.
    Geometry geometry(const std::filesystem::path& file) const;
};

/// Bytes of the longer of the two headers.
constexpr std::size_t kMostNiftiHeader = 540;

/// start: the file's first bytes, most_nifti_header of them where the file has as many. Throws InputError naming the
/// file, the field and what was expected.
NiftiHeader parse_nifti_header(const std::filesystem::path& file, std::span<const std::byte> start);

/// The header of a file with one volume, with the four bytes after it that say "no extension": of version 1 where the
/// sizes fit, else of version 2. The placement is the geometry's own where its affine still is what that says. type is
/// NIfTI's datatype. No scaling, no display range, no intent.
std::vector<std::byte> nifti_header_bytes(const Geometry& geometry, int type);

}  // namespace iwseg
