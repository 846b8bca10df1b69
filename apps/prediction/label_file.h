#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/volume/volume.h"

namespace iwseg {

/// Writes labels in the narrowest type that holds all values that there may be: u8, i16 or i32.
void write_label_file(const std::filesystem::path& file, const Volume<std::int32_t>& labels,
                      const std::vector<std::int32_t>& values);

}  // namespace iwseg
