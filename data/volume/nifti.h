#pragma once

#include <cstdint>
#include <filesystem>

#include "data/volume/volume.h"

namespace iwseg {

// What volume.h promises, for NIfTI files (NIfTI-1 and 2, plain and gzip) alone. data/volume/formats.cpp chooses by the
// name.

Geometry read_nifti_geometry(const std::filesystem::path& file);
std::int64_t read_nifti_channel_count(const std::filesystem::path& file);
std::int64_t nifti_reading_bytes(const std::filesystem::path& file);
Volume<float> read_nifti_image(const std::filesystem::path& file);
Volume<float> read_nifti_channel(const std::filesystem::path& file, std::int64_t channel);
Volume<std::int32_t> read_nifti_labels(const std::filesystem::path& file);

void write_nifti(const std::filesystem::path& file, const Volume<float>& volume);
void write_nifti(const std::filesystem::path& file, const Volume<std::uint8_t>& volume);
void write_nifti(const std::filesystem::path& file, const Volume<std::int16_t>& volume);
void write_nifti(const std::filesystem::path& file, const Volume<std::int32_t>& volume);

}  // namespace iwseg
