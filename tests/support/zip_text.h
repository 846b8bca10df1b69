#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "import/zip_archive.h"

namespace iwseg {

/// The bytes of an archive of these.
inline std::string zip_text(const std::vector<ZipContent>& files, bool zip64 = false) {
    std::string text;
    write_zip(
        files, [&](std::string_view bytes) { text += bytes; }, zip64);
    return text;
}

}  // namespace iwseg
