#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace iwseg {

/// Throws InputError, naming the file, where it cannot be read or is not JSON.
nlohmann::json read_json(const std::filesystem::path& file);
/// The same with keys in the order of the file.
nlohmann::ordered_json read_ordered_json(const std::filesystem::path& file);

}  // namespace iwseg
