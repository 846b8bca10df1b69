#pragma once

#include <filesystem>

#include "data/volume/volume.h"
#include "models/label_map.h"

namespace iwseg {

/// Writes labels in the type of the map.
void write_label_file(const std::filesystem::path& file, const Geometry& geometry, LabelMap labels);

}  // namespace iwseg
