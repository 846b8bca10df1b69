#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "data/volume/nifti_placement.h"

namespace iwseg {

/// Where a scan lies in space. affine: voxel (i, j, k, 1) to mm, x to the right, y to the front, z to the head.
struct Geometry {
    std::array<std::int64_t, 3> shape{};  ///< voxels along the file's axes i, j, k
    Affine affine{{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}};
    /// What a NIfTI header said, word for word; writers of NIfTI put it into their file as long as the affine is its.
    std::optional<NiftiPlacement> nifti{};

    std::int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }
    std::array<double, 3> spacing() const;  ///< mm a voxel along i, j, k
    /// Of the part of the scan that begins at voxel `first`.
    Geometry part(const std::array<std::int64_t, 3>& first, const std::array<std::int64_t, 3>& part_shape) const;
};

/// A scan or mask in memory. Voxel (i, j, k) is voxels[(i * J + j) * K + k]: the array nibabel shows, in C order; the
/// network's D, H, W are i, j, k.
template <class T>
struct Volume {
    Geometry geometry;
    std::vector<T> voxels;
};

/// Reads a file of any format in data/volume/formats.h, by the name's ending: of every integer and float type, scaled
/// as the header says; a frame of other directions becomes NIfTI's RAS. Throws InputError, naming the file, where it is
/// missing, truncated, of another format, not three-dimensional (trailing axes of 1 are dropped), a value of its header
/// is outside of its range, or it is larger by its header than by its bytes.
Volume<float> read_image(const std::filesystem::path& file);
/// The same, as whole numbers. Throws InputError where a value is none by label_of.
Volume<std::int32_t> read_labels(const std::filesystem::path& file);

/// The whole number that a stored label stands for, where it is one: within 0.0001, within what f32 rounds (SPM's 255 *
/// 1/255, ITK's 0.99999994), or within half a step of scl_slope where voxels are stored as scaled whole numbers (2
/// labels over 255 steps), but never more than 0.01 away. Nothing elsewhere and outside of int32.
std::optional<std::int32_t> label_of(double value, double scl_slope = 0);

/// One channel of a file whose fourth axis holds channels (Medical Segmentation Decathlon); a three-dimensional file
/// has channel 0 alone. Throws as read_image, and where there is no such channel.
Volume<float> read_channel(const std::filesystem::path& file, std::int64_t channel);

/// How many channels read_channel finds in the file, from its header alone. Throws as read_channel.
std::int64_t read_channel_count(const std::filesystem::path& file);

/// Where the scan of a file lies, from its header alone. Throws as read_channel.
Geometry read_geometry(const std::filesystem::path& file);
/// The memory that read_image and read_labels take, their result included, in bytes, from the header alone.
std::int64_t reading_bytes(const std::filesystem::path& file);

/// Writes the format of the name's ending (written_endings), atomically, of NIfTI NIfTI-1 where the sizes fit and else
/// NIfTI-2. A geometry that was read from NIfTI is written to NIfTI as it stood there: qform, sform, codes, pixdim and
/// units.
void write_volume(const std::filesystem::path& file, const Volume<float>& volume);
void write_volume(const std::filesystem::path& file, const Volume<std::uint8_t>& volume);
void write_volume(const std::filesystem::path& file, const Volume<std::int16_t>& volume);
void write_volume(const std::filesystem::path& file, const Volume<std::int32_t>& volume);

/// Throws InputError naming both files where shapes differ, or places by more than 1 % of a voxel, along any of its
/// axes, at any corner of the scan. Where one file claims no frame (qform_code and sform_code 0) or names no unit, the
/// other is compared with what NIfTI's standard, nibabel and ITK each take such a file for: labels drawn in any of them
/// match.
void require_same_geometry(const Geometry& a, const std::filesystem::path& file_a, const Geometry& b,
                           const std::filesystem::path& file_b);

}  // namespace iwseg
