#include "data/volume/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "data/volume/meta_image.h"
#include "data/volume/nifti.h"

namespace iwseg {
namespace {

using std::filesystem::path;

std::int64_t meta_channel_count(const path& file) {
    read_meta_header(file);  // refuses files of several
    return 1;
}

Volume<float> read_meta_channel(const path& file, std::int64_t channel) {
    if (channel != 0)
        throw InputError(fmt::format("{} has 1 channel, so there is no channel {}", file.string(), channel));
    return read_meta_image(file);
}

bool ends_with(const std::string& name, const std::string& ending) {
    return name.size() >= ending.size() &&
           std::equal(ending.rbegin(), ending.rend(), name.rbegin(),
                      [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

/// What the table says of a name.
struct Match {
    const VolumeFormat* format = nullptr;
    std::size_t length = 0;  ///< of the ending
};

Match match(const std::string& name) {
    Match longest;
    for (const VolumeFormat& format : volume_formats())
        for (const std::string& ending : format.endings)
            if (ending.size() > longest.length && ends_with(name, ending)) longest = {&format, ending.size()};
    return longest;
}

std::string endings_text(std::vector<std::string> VolumeFormat::*endings) {
    std::vector<std::string> all;
    for (const VolumeFormat& format : volume_formats())
        all.insert(all.end(), (format.*endings).begin(), (format.*endings).end());
    const std::string last = all.back();
    all.pop_back();
    return fmt::format("{} or {}", fmt::join(all, ", "), last);
}

}  // namespace

const std::vector<VolumeFormat>& volume_formats() {
    static const std::vector<VolumeFormat> formats{
        {"NIfTI",
         {".nii.gz", ".nii"},
         {".nii.gz", ".nii"},
         read_nifti_geometry,
         read_nifti_channel_count,
         nifti_reading_bytes,
         read_nifti_image,
         read_nifti_channel,
         read_nifti_labels,
         [](const path& file, const VolumeToWrite& any) {
             std::visit([&](const auto* volume) { write_nifti(file, *volume); }, any);
         }},
        {"MetaImage",
         {".mha", ".mhd"},
         {".mha"},
         [](const path& file) { return read_meta_header(file).geometry(); },
         meta_channel_count,
         meta_reading_bytes,
         read_meta_image,
         read_meta_channel,
         read_meta_labels,
         [](const path& file, const VolumeToWrite& any) {
             std::visit([&](const auto* volume) { write_meta_image(file, *volume); }, any);
         }},
    };
    return formats;
}

const VolumeFormat* find_format(const path& file) {
    return match(file.filename().string()).format;
}

const VolumeFormat& format_of(const path& file) {
    if (const VolumeFormat* format = find_format(file)) return *format;
    throw InputError(fmt::format("{} is in no known format: its name must end in {}", file.string(), known_endings()));
}

std::string known_endings() {
    return endings_text(&VolumeFormat::endings);
}

std::string written_endings() {
    return endings_text(&VolumeFormat::written);
}

bool is_written(const std::string& ending) {
    return std::any_of(volume_formats().begin(), volume_formats().end(), [&](const VolumeFormat& format) {
        return std::count(format.written.begin(), format.written.end(), ending) > 0;
    });
}

std::string name_without_ending(const path& file) {
    const std::string name = file.filename().string();
    return name.substr(0, name.size() - match(name).length);
}

Geometry read_geometry(const path& file) {
    return format_of(file).read_geometry(file);
}
std::int64_t read_channel_count(const path& file) {
    return format_of(file).read_channel_count(file);
}
std::int64_t reading_bytes(const path& file) {
    return format_of(file).reading_bytes(file);
}
Volume<float> read_image(const path& file) {
    return format_of(file).read_image(file);
}
Volume<float> read_channel(const path& file, std::int64_t channel) {
    return format_of(file).read_channel(file, channel);
}
Volume<std::int32_t> read_labels(const path& file) {
    return format_of(file).read_labels(file);
}

void write_volume(const path& file, const Volume<float>& volume) {
    format_of(file).write(file, &volume);
}
void write_volume(const path& file, const Volume<std::uint8_t>& volume) {
    format_of(file).write(file, &volume);
}
void write_volume(const path& file, const Volume<std::int16_t>& volume) {
    format_of(file).write(file, &volume);
}
void write_volume(const path& file, const Volume<std::int32_t>& volume) {
    format_of(file).write(file, &volume);
}

}  // namespace iwseg
