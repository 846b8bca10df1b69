#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "data/volume/meta_image.h"
#include "data/volume/stored_voxels.h"

namespace iwseg {

/// What a MetaImage header says of its voxels, with defaults applied.
struct MetaDescription {
    MetaHeader header;
    VoxelType element = VoxelType::u8;
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
