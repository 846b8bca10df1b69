#include "data/volume/meta_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "data/volume/meta_header.h"
#include "data/volume/stored_voxels.h"

namespace iwseg {
namespace {

using std::filesystem::path;

constexpr std::int64_t kMostHeader = std::int64_t{1} << 20;  // bytes; a LIST of a thousand names has 30,000

MetaDescription read_description(const path& file) {
    return parse_meta_header(file, start_of_file(file, kMostHeader));
}

/// Finds the voxels in a data file. Throws where it cannot hold `promised` bytes of them, or holds more.
VoxelSection find_section(const MetaDescription& description, const path& file, const path& header,
                          std::int64_t promised) {
    VoxelSection section{file, file.string(), description.local_start, 0};
    if (file != header) section.name += fmt::format(" (the data file of {})", header.string());
    const auto refuse = [&](const std::string& what) { throw InputError(fmt::format("{} {}", section.name, what)); };
    const std::int64_t all = size_of_file(file, section.name);
    const std::int64_t stored = description.compressed ? description.compressed_bytes : promised;
    if (description.skipped_bytes > 0) {
        // HeaderSize counts from the file's first byte, in a file with the header too.
        if (description.skipped_bytes < section.start)
            refuse(fmt::format("has HeaderSize {}, but its header alone has {} bytes", description.skipped_bytes,
                               section.start));
        section.start = description.skipped_bytes;
    } else if (description.skipped_bytes < 0) {
        if (stored == 0) refuse("has HeaderSize -1 and compressed voxels, which needs their CompressedDataSize");
        section.start = std::max(section.start, all - stored);
    }
    section.size = std::max<std::int64_t>(all - section.start, 0);
    require_size(section, promised, stored, description.compressed);
    return section;
}

/// All data files are looked at before memory is taken.
StoredVoxels find_voxels(const path& file) {
    const MetaDescription description = read_description(file);
    StoredVoxels stored{.geometry = description.header.geometry(),
                        .type = description.element,
                        .big_endian = description.big_endian,
                        .compressed = description.compressed,
                        .sections = {}};
    const std::int64_t promised = description.bytes() / static_cast<std::int64_t>(description.data_files.size());
    for (const path& data_file : description.data_files)
        stored.sections.push_back(find_section(description, data_file, file, promised));
    return stored;
}

}  // namespace

MetaHeader read_meta_header(const path& file) {
    return read_description(file).header;
}

std::vector<path> meta_data_files(const path& file) {
    return read_description(file).data_files;
}

Volume<float> read_meta_image(const path& file) {
    return read_stored_image(find_voxels(file));
}

Volume<std::int32_t> read_meta_labels(const path& file) {
    return read_stored_labels(find_voxels(file));
}

std::int64_t meta_reading_bytes(const path& file) {
    const MetaDescription description = read_description(file);
    return stored_reading_bytes(description.header.geometry(), description.element);
}

}  // namespace iwseg
