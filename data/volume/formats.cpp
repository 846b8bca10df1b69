#include "data/volume/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "data/volume/meta_image.h"
#include "data/volume/nifti.h"
#include "data/volume/nrrd.h"

namespace iwseg {
namespace {

using std::filesystem::path;

/// For formats of one channel a file: that a header can be read is all there is to count.
template <Geometry (*read)(const path&)>
std::int64_t one_channel(const path& file) {
    read(file);
    return 1;
}

template <Volume<float> (*read)(const path&)>
Volume<float> only_channel(const path& file, std::int64_t channel) {
    if (channel != 0)
        throw InputError(fmt::format("{} has 1 channel, so there is no channel {}", file.string(), channel));
    return read(file);
}

Geometry read_meta_geometry(const path& file) {
    return read_meta_header(file).geometry();
}

bool ends_with(const std::string& name, const std::string& ending) {
    return name.size() >= ending.size() &&
           std::equal(ending.rbegin(), ending.rend(), name.rbegin(),
                      [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

std::string upper_case(std::string ending) {
    for (char& letter : ending) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    return ending;
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
         {},
         {},
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
         {".mhd"},
         {".raw", ".zraw"},
         read_meta_geometry,
         one_channel<read_meta_geometry>,
         meta_reading_bytes,
         read_meta_image,
         only_channel<read_meta_image>,
         read_meta_labels,
         [](const path& file, const VolumeToWrite& any) {
             std::visit([&](const auto* volume) { write_meta_image(file, *volume); }, any);
         }},
        {"NRRD",
         {".nrrd", ".nhdr"},
         {".nrrd"},
         {".nhdr"},
         {".raw", ".raw.gz"},
         read_nrrd_geometry,
         one_channel<read_nrrd_geometry>,
         nrrd_reading_bytes,
         read_nrrd_image,
         only_channel<read_nrrd_image>,
         read_nrrd_labels,
         write_nrrd},
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

std::string default_endings() {
    std::string text;
    for (const VolumeFormat& format : volume_formats())
        text += fmt::format("{}{} for {}{}", text.empty() ? "" : ", ", format.endings.front(), format.name,
                            text.empty() ? " scans" : "");
    return text;
}

bool is_written(const std::string& ending) {
    return std::any_of(volume_formats().begin(), volume_formats().end(), [&](const VolumeFormat& format) {
        return std::count(format.written.begin(), format.written.end(), ending) > 0;
    });
}

bool is_data_of_header(const path& file) {
    const std::string name = file.filename().string();
    for (const VolumeFormat& format : volume_formats())
        for (const std::string& ending : format.data) {
            if (!ends_with(name, ending)) continue;
            const std::string stem = name.substr(0, name.size() - ending.size());
            for (const std::string& header : format.headers)
                for (const std::string& spelled : {header, upper_case(header)})
                    if (std::filesystem::exists(file.parent_path() / (stem + spelled))) return true;
        }
    return false;
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
