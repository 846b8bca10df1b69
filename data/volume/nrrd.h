#pragma once

#include <cstdint>
#include <filesystem>

#include "data/volume/formats.h"

namespace iwseg {

// What volume.h promises, for NRRD files (teem's, versions 1 to 5): .nrrd, or .nhdr with one data file, raw or gzip, of
// every integer and float type in either byte order. Three axes of space, and beside them at most one of size 1. The
// spaces right- or left-anterior-superior and left-posterior-superior become NIfTI's RAS; without a space, spacings are
// along LPS from 0 on, as ITK has it.

/// From the header alone; its data file need not be there. Throws InputError naming the file and the field.
Geometry read_nrrd_geometry(const std::filesystem::path& file);
std::int64_t nrrd_reading_bytes(const std::filesystem::path& file);
Volume<float> read_nrrd_image(const std::filesystem::path& file);
Volume<std::int32_t> read_nrrd_labels(const std::filesystem::path& file);

/// Writes .nrrd, in the space left-posterior-superior as ITK and Slicer do, gzip, atomically. Throws InputError where
/// the name has another ending or cannot be written.
void write_nrrd(const std::filesystem::path& file, const VolumeToWrite& volume);

}  // namespace iwseg
