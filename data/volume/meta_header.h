#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "data/volume/meta_image.h"

namespace iwseg {

/// The number type of a voxel in a MetaImage file.
enum class MetaElement : std::uint8_t { i8, u8, i16, u16, i32, u32, i64, u64, f32, f64 };

std::int64_t bytes_of(MetaElement element);

/// What a MetaImage header says of its voxels, with defaults applied.
struct MetaDescription {
    MetaHeader header;
    MetaElement element = MetaElement::u8;
    bool big_endian = false, compressed = false;
    std::int64_t compressed_bytes = 0;              ///< CompressedDataSize; 0: not said
    std::int64_t skipped_bytes = 0;                 ///< HeaderSize; -1: the voxels are the data file's last bytes
    std::vector<std::filesystem::path> data_files;  ///< one with all slices, or as many as slices
    std::int64_t local_start = 0;                   ///< where the voxels start in the header's own file; 0: elsewhere

    /// Of all voxels, not compressed; below 2^56.
    std::int64_t bytes() const;
};

/// Understands the text of a header. text: the start of the file, the whole header in it; what follows the line
/// ElementDataFile is not looked at, but for LIST. Data files are not opened. Throws InputError naming the file and the
/// key.
MetaDescription parse_meta_header(const std::filesystem::path& file, std::string_view text);

}  // namespace iwseg
