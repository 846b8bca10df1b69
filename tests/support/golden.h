#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace iwseg {

/// A folder that a test was built to read, or where the environment says it is now: tests run from a bundle, too.
inline std::filesystem::path test_folder(const char* variable, const char* built) {
    const char* moved = std::getenv(variable);
    return moved ? moved : built;
}

/// tests/golden: what is kept in the repository.
inline std::filesystem::path kept_golden(const std::string& name) {
    return test_folder("IWSEG_GOLDEN_DIR", IWSEG_GOLDEN_DIR) / name;
}

/// What the original implementation computed: all of it where ../shared is, else the smaller part kept in tests/golden.
inline std::filesystem::path golden_file(const std::string& name) {
    const auto whole = test_folder("IWSEG_SHARED_DIR", IWSEG_SHARED_DIR) / "golden" / name;
    return std::filesystem::exists(whole) ? whole : kept_golden(name);
}

}  // namespace iwseg
