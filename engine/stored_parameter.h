#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/parameters.h"
#include "engine/safetensors.h"

// How a parameter's array, or one of its shape that belongs to it, lies in a safetensors file.
namespace iwseg {

/// The ending of the name of a running variance.
constexpr std::string_view kRunningVariance = "running_var";

/// For messages: (16, 1, 3, 3, 3).
std::string shape_text(const std::vector<std::int64_t>& shape);

/// The stored array of that name. Throws InputError, naming file and array, where it is missing or of another shape.
const StoredTensor& stored_array(const std::filesystem::path& file, const std::map<std::string, StoredTensor>& stored,
                                 const std::string& name, const std::vector<std::int64_t>& shape);

/// Checks the stored array of that name against the parameter whose shape it has, and copies it. Throws InputError,
/// naming file and array, where it is missing, of another shape, or holds values that nobody can use.
void copy_stored(const std::filesystem::path& file, const std::map<std::string, StoredTensor>& stored,
                 const std::string& name, const Parameter& parameter, float* destination);

/// The array to store under that name; values must outlive it.
TensorToStore to_store(const std::string& name, const Parameter& parameter, const float* values);

}  // namespace iwseg
