#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "data/volume/volume.h"

namespace iwseg {

using VolumeToWrite = std::variant<const Volume<float>*, const Volume<std::uint8_t>*, const Volume<std::int16_t>*,
                                   const Volume<std::int32_t>*>;

/// One way in which volumes lie in files. The functions promise what those of the same names in volume.h promise.
struct VolumeFormat {
    std::string name;
    std::vector<std::string> endings;  ///< of its files' names; results get the first
    std::vector<std::string> written;  ///< those of them that `write` takes
    /// Of files that are a header alone, and of those beside it, of the same name, that may hold its voxels.
    std::vector<std::string> headers, data;
    Geometry (*read_geometry)(const std::filesystem::path& file);
    std::int64_t (*read_channel_count)(const std::filesystem::path& file);
    std::int64_t (*reading_bytes)(const std::filesystem::path& file);
    Volume<float> (*read_image)(const std::filesystem::path& file);
    Volume<float> (*read_channel)(const std::filesystem::path& file, std::int64_t channel);
    Volume<std::int32_t> (*read_labels)(const std::filesystem::path& file);
    void (*write)(const std::filesystem::path& file, const VolumeToWrite& volume);
};

/// The one table of formats: whatever reads, writes or lists volumes, or takes endings off names, asks here.
const std::vector<VolumeFormat>& volume_formats();

/// The format by the ending of the name, in capitals or not; nullptr where there is none of that ending.
const VolumeFormat* find_format(const std::filesystem::path& file);
/// Throws InputError naming the file and the known endings.
const VolumeFormat& format_of(const std::filesystem::path& file);

/// Every ending, for sentences: ".nii.gz, .nii, .mha or .mhd"; those that can be written.
std::string known_endings();
std::string written_endings();
/// What results are written as where no ending is asked for: ".nii.gz for NIfTI scans, .mha for MetaImage".
std::string default_endings();
/// Whether volumes can be written under names of that ending.
bool is_written(const std::string& ending);

/// Whether the file is the voxels (.raw, .zraw) of a header (.mhd) of the same name beside it, in capitals or not, and
/// so no scan of its own.
bool is_data_of_header(const std::filesystem::path& file);

/// The file's name without its folder and its ending: "a.b" of "scans/a.b.nii.gz". All of it where the ending is
/// unknown.
std::string name_without_ending(const std::filesystem::path& file);

}  // namespace iwseg
