#include "engine/stored_parameter.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"

namespace iwseg {
namespace {

std::optional<std::string> fault_of(const std::string& name, std::span<const float> values) {
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
        return name + " holds a value that is not finite";
    if (name.ends_with(kRunningVariance) &&
        std::any_of(values.begin(), values.end(), [](float value) { return value < 0; }))
        return name + " holds a negative variance";
    return std::nullopt;
}

}  // namespace

std::string shape_text(const std::vector<std::int64_t>& shape) {
    std::string text = "(";
    for (const std::int64_t side : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(side);
    return text + ")";
}

std::optional<std::string> unusable_values(const Parameter& parameter, std::span<const float> values) {
    return fault_of(parameter.name, values);
}

const StoredTensor& stored_array(const std::filesystem::path& file, const std::map<std::string, StoredTensor>& stored,
                                 const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto found = stored.find(name);
    if (found == stored.end()) throw InputError(file.string() + " has no array " + name + ", which the network needs");
    if (found->second.shape != shape)
        throw InputError(file.string() + ": " + name + " has the shape " + shape_text(found->second.shape) +
                         ", but the network's is " + shape_text(shape) +
                         "; are these weights of other widths or channels?");
    return found->second;
}

void copy_stored(const std::filesystem::path& file, const std::map<std::string, StoredTensor>& stored,
                 const std::string& name, const Parameter& parameter, float* destination) {
    const std::vector<float> values = stored_array(file, stored, name, parameter.shape).as_f32();
    if (const auto fault = fault_of(name, values))
        throw InputError(file.string() + ": " + *fault + ", which no usable network has; did its training diverge?");
    std::copy(values.begin(), values.end(), destination);
}

TensorToStore to_store(const std::string& name, const Parameter& parameter, const float* values) {
    return {name, "F32", parameter.shape,
            std::as_bytes(std::span(values, static_cast<std::size_t>(parameter.elements)))};
}

}  // namespace iwseg
