#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace iwseg {

/// Where a scan lies in space. affine: voxel (i, j, k, 1) to mm, three rows (the fourth is 0 0 0 1).
struct Geometry {
    std::array<std::int64_t, 3> shape{};  ///< voxels along the file's axes i, j, k
    std::array<std::array<double, 4>, 3> affine{{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}};

    std::int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }
    std::array<double, 3> spacing() const;  ///< mm a voxel along i, j, k
};

/// A scan or mask in memory. Voxel (i, j, k) is voxels[(i * J + j) * K + k]: the array nibabel shows, in C order; the
/// network's D, H, W are i, j, k.
template <class T>
struct Volume {
    Geometry geometry;
    std::vector<T> voxels;
};

/// Reads a file of any format in data/formats.h, by the name's ending: NIfTI (NIfTI-1 or 2, every integer and float type,
/// scl_slope honoured) or MetaImage, whose LPS frame becomes NIfTI's RAS. Throws InputError, naming the file, where it is
/// missing, truncated, of another format, not three-dimensional (trailing axes of 1 are dropped), or larger by its
/// header than by its bytes.
Volume<float> read_image(const std::filesystem::path& file);
/// The same, as whole numbers. Throws InputError where a value is not whole or outside int32.
Volume<std::int32_t> read_labels(const std::filesystem::path& file);

/// One channel of a file whose fourth axis holds channels (Medical Segmentation Decathlon); a three-dimensional file has
/// channel 0 alone. Throws as read_image, and where there is no such channel.
Volume<float> read_channel(const std::filesystem::path& file, std::int64_t channel);

/// How many channels read_channel finds in the file, from its header alone. Throws as read_channel.
std::int64_t read_channel_count(const std::filesystem::path& file);

/// Where the scan of a file lies, from its header alone. Throws as read_channel.
Geometry read_geometry(const std::filesystem::path& file);
/// The memory that read_image and read_labels take, their result included, in bytes, from the header alone.
std::int64_t reading_bytes(const std::filesystem::path& file);

/// Writes .nii, .nii.gz or .mha by the name's ending, atomically, NIfTI-1 where the sizes fit and else NIfTI-2.
void write_volume(const std::filesystem::path& file, const Volume<float>& volume);
void write_volume(const std::filesystem::path& file, const Volume<std::uint8_t>& volume);
void write_volume(const std::filesystem::path& file, const Volume<std::int16_t>& volume);
void write_volume(const std::filesystem::path& file, const Volume<std::int32_t>& volume);

/// Throws InputError naming both files where shapes differ, or affines by more than 1e-3 mm at any corner of the scan.
void require_same_geometry(const Geometry& a, const std::filesystem::path& file_a, const Geometry& b,
                           const std::filesystem::path& file_b);

}  // namespace iwseg
