#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/volume/volume.h"

namespace iwseg {

/// Where a MetaImage file says its scan lies: in mm of the LPS frame (x to the left, y to the back, z to the head), as
/// ITK has it. LUNA16's coordinates are of this frame.
struct MetaHeader {
    std::array<std::int64_t, 3> shape{};       ///< voxels along the file's axes i, j, k (DimSize)
    std::array<double, 3> offset{};            ///< of the centre of voxel (0, 0, 0), mm
    std::array<double, 3> spacing{{1, 1, 1}};  ///< mm a voxel along i, j, k, all above 0
    /// direction[row][axis]: where the file's axis points to, as ITK's GetDirection. The file's TransformMatrix holds
    /// the axes one after the other, so that it is this matrix transposed; a negative ElementSpacing turns its axis.
    std::array<std::array<double, 3>, 3> direction{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};

    /// The same in the RAS frame of NIfTI: x and y negated.
    Geometry geometry() const;
};

/// Reads the header of .mhd or .mha alone; its data file need not be there. Throws InputError, naming the file and the
/// key, where it is missing, no regular file, not MetaImage, or one that read_meta_image does not support.
MetaHeader read_meta_header(const std::filesystem::path& file);
/// The files that hold the voxels, by ElementDataFile: of LIST and of a pattern all of them, of .mha the file itself.
/// Throws as read_meta_header.
std::vector<std::filesystem::path> meta_data_files(const std::filesystem::path& file);

/// Reads .mhd with .raw, .zraw, a LIST or a pattern of slices, or .mha: every integer and float type in either byte
/// order, compressed or not. Throws InputError as read_meta_header, and where data are missing, damaged, or not exactly
/// as long as the header promises. Data files are found as ITK finds them: beside the header, or by an absolute path.
/// Memory beside the volume: at most sixteen slices.
Volume<float> read_meta_image(const std::filesystem::path& file);
/// The same, as whole numbers. Throws InputError where a value is none by label_of.
Volume<std::int32_t> read_meta_labels(const std::filesystem::path& file);
/// The memory that either takes, its result included, in bytes, from the header alone.
std::int64_t meta_reading_bytes(const std::filesystem::path& file);

/// Writes .mha, compressed, atomically. Throws InputError where the name has another ending or cannot be written.
void write_meta_image(const std::filesystem::path& file, const Volume<float>& volume);
void write_meta_image(const std::filesystem::path& file, const Volume<std::uint8_t>& volume);
void write_meta_image(const std::filesystem::path& file, const Volume<std::int16_t>& volume);
void write_meta_image(const std::filesystem::path& file, const Volume<std::int32_t>& volume);

}  // namespace iwseg
