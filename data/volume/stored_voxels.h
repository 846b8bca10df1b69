#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/volume/volume.h"

namespace iwseg {

// What formats have in common whose files are a header of text and voxels as they are, or deflated.

/// The number type of a voxel in a file.
enum class VoxelType : std::uint8_t { i8, u8, i16, u16, i32, u32, i64, u64, f32, f64 };

std::int64_t bytes_of(VoxelType type);

/// Bytes of a file that hold voxels.
struct VoxelSection {
    std::filesystem::path file;
    std::string name;  ///< of the file in sentences
    std::int64_t start = 0, size = 0;
};

/// Where voxels lie: i fastest, in one section or in several of equally many slices each.
struct StoredVoxels {
    Geometry geometry;
    VoxelType type = VoxelType::u8;
    bool big_endian = false, compressed = false;  ///< compressed: zlib or gzip
    std::vector<VoxelSection> sections;
};

/// The size in bytes. name: of the file in sentences. Throws InputError where it is missing or no regular file, as a
/// pipe or device, which has none: before it is opened.
std::int64_t size_of_file(const std::filesystem::path& file, const std::string& name);
/// The first `most` bytes of a file, or all where there are fewer. Throws as size_of_file.
std::string start_of_file(const std::filesystem::path& file, std::int64_t most);

/// Throws InputError where the section has not as many bytes as it should. promised: bytes of voxels, not compressed;
/// stored: bytes of the section, 0 where the header does not say.
void require_size(const VoxelSection& section, std::int64_t promised, std::int64_t stored, bool compressed);

/// Reads them, at most sixteen slices in memory beside the volume. Throws InputError where data are damaged, or not
/// exactly as long as promised.
Volume<float> read_stored_image(const StoredVoxels& stored);
/// The same, as whole numbers. Throws InputError where a value is none by label_of.
Volume<std::int32_t> read_stored_labels(const StoredVoxels& stored);
/// The memory that either takes, its result included, in bytes. Sections are not asked for.
std::int64_t stored_reading_bytes(const Geometry& geometry, VoxelType type);

/// The volume's bytes with i fastest, to be written.
template <class T>
std::vector<std::byte> in_file_order(const Volume<T>& volume);

}  // namespace iwseg
