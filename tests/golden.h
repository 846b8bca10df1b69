#pragma once

#include <filesystem>
#include <string>

namespace iwseg {

/// What the original implementation computed: all of it where ../shared is, else the smaller part kept in tests/golden.
inline std::filesystem::path golden_file(const std::string& name) {
    const auto whole = std::filesystem::path(IWSEG_SHARED_DIR) / "golden" / name;
    return std::filesystem::exists(whole) ? whole : std::filesystem::path(IWSEG_GOLDEN_DIR) / name;
}

}  // namespace iwseg
