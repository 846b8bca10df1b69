#include "engine/parameters.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string_view>

#include "base/error.h"

namespace iwseg {
namespace {

constexpr const char* kTracked = "num_batches_tracked";
constexpr std::string_view kVariance = "running_var";

std::string shape_text(const std::vector<std::int64_t>& shape) {
    std::string text = "(";
    for (const std::int64_t side : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(side);
    return text + ")";
}

bool is_tracked(const std::string& name) {
    const std::string_view ending = kTracked;
    return name.size() > ending.size() && name.ends_with(ending);
}

/// Checks one stored array against the parameter of its name and copies it.
void copy_stored(const std::filesystem::path& file, const std::map<std::string, StoredTensor>& stored,
                 const Parameter& parameter, float* destination) {
    const auto found = stored.find(parameter.name);
    if (found == stored.end())
        throw InputError(file.string() + " has no array " + parameter.name + ", which the network needs");
    if (found->second.shape != parameter.shape)
        throw InputError(file.string() + ": " + parameter.name + " has the shape " + shape_text(found->second.shape) +
                         ", but the network's is " + shape_text(parameter.shape) +
                         "; are these weights of other widths or channels?");
    const std::vector<float> values = found->second.as_f32();
    if (const auto fault = unusable_values(parameter, values))
        throw InputError(file.string() + ": " + *fault + ", which no usable network has; did its training diverge?");
    std::copy(values.begin(), values.end(), destination);
}

TensorToStore stored_view(const Parameter& parameter, const float* values) {
    return {parameter.name, "F32", parameter.shape,
            std::as_bytes(std::span(values, static_cast<std::size_t>(parameter.elements)))};
}

/// PyTorch's counter beside the first of the running statistics; 0 where there is none.
std::int64_t batches_in(const std::filesystem::path& file, const std::map<std::string, StoredTensor>& stored) {
    for (const auto& [name, tensor] : stored) {
        if (!is_tracked(name) || tensor.elements() != 1) continue;
        try {
            return tensor.as_i32()[0];
        } catch (const InputError& error) {
            throw InputError(file.string() + ": " + name + " " + error.what());
        }
    }
    return 0;
}

}  // namespace

std::optional<std::string> unusable_values(const Parameter& parameter, std::span<const float> values) {
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
        return parameter.name + " holds a value that is not finite";
    if (parameter.name.ends_with(kVariance) &&
        std::any_of(values.begin(), values.end(), [](float value) { return value < 0; }))
        return parameter.name + " holds a negative variance";
    return std::nullopt;
}

ParameterId Parameters::declare(const ParameterSpec& spec) {
    if (const auto found = state_->index.find(spec.name); found != state_->index.end()) {
        const Parameter& known = state_->list[static_cast<std::size_t>(found->second)];
        if (known.shape != spec.shape)
            throw std::invalid_argument("parameter " + spec.name + " has the shape " + shape_text(known.shape) +
                                        ", not " + shape_text(spec.shape));
        return {found->second};
    }
    Parameter parameter{spec.name, spec.shape, 0, 1, spec.learned, spec.initial};
    for (const std::int64_t side : spec.shape) parameter.elements *= side;
    if (state_->device) throw std::logic_error("parameter " + spec.name + " is declared after placing");
    std::vector<float>& flat = (spec.learned ? state_->values : state_->statistics).host;
    parameter.offset = static_cast<std::int64_t>(flat.size());
    flat.resize(flat.size() + static_cast<std::size_t>(parameter.elements));
    state_->index.emplace(spec.name, size());
    state_->list.push_back(std::move(parameter));
    return {size() - 1};
}

std::vector<float>& Parameters::gradients() const {
    state_->gradients.host.resize(state_->values.host.size());
    return state_->gradients.host;
}

std::vector<float>& Parameters::momentum() const {
    state_->momentum.host.resize(state_->values.host.size());
    return state_->momentum.host;
}

void Parameters::place(const Kernels& device, Stream stream, bool training) {
    // Made now: a step allocates nothing.
    if (training) {
        gradients();
        momentum();
    }
    if (device.host_memory) return;
    state_->device = &device;
    state_->stream = stream;
    for (Flat* flat : {&state_->values, &state_->statistics, &state_->gradients, &state_->momentum})
        if (!flat->device && flat->bytes() > 0) flat->device = std::make_unique<DeviceMemory>(device, flat->bytes());
    // Of a parameter that no call writes, as of a part that is not compiled, the gradient is 0 as on the host.
    if (state_->gradients.device) device.set_zero(stream, state_->gradients.device->data(), state_->gradients.bytes());
    upload();
}

void Parameters::upload() {
    for (const Flat* flat : {&state_->values, &state_->statistics, &state_->momentum})
        if (flat->device)
            state_->device->copy_to_device(state_->stream, flat->host.data(), flat->device->data(), flat->bytes());
    if (state_->device) state_->device->synchronise(state_->stream);
}

void Parameters::download() {
    for (Flat* flat : {&state_->values, &state_->statistics, &state_->gradients, &state_->momentum})
        if (flat->device)
            state_->device->copy_to_host(state_->stream, flat->device->data(), flat->host.data(), flat->bytes());
    if (state_->device) state_->device->synchronise(state_->stream);
}

float* Parameters::device_value(ParameterId id) const {
    const Parameter& parameter = (*this)[id];
    return on_device(parameter.learned ? state_->values : state_->statistics) + parameter.offset;
}

float* Parameters::device_gradient(ParameterId id) const {
    if (!state_->gradients.device) gradients();
    return on_device(state_->gradients) + (*this)[id].offset;
}

ParameterId Parameters::find(const std::string& name) const {
    const auto found = state_->index.find(name);
    if (found == state_->index.end()) throw std::out_of_range("no parameter " + name);
    return {found->second};
}

float* Parameters::value(ParameterId id) const {
    const Parameter& parameter = (*this)[id];
    return (parameter.learned ? state_->values : state_->statistics).host.data() + parameter.offset;
}

float* Parameters::gradient(ParameterId id) const {
    const Parameter& parameter = (*this)[id];
    if (!parameter.learned) throw std::invalid_argument(parameter.name + " is not learned and has no gradient");
    return gradients().data() + parameter.offset;
}

void Parameters::load(const std::filesystem::path& file) {
    const auto stored = read_safetensors(file);
    for (const auto& [name, tensor] : stored)
        if (!state_->index.contains(name) && !is_tracked(name))
            throw InputError(file.string() + " holds the array " + name + ", which the network does not have");
    // All is checked into a copy first: a bad file leaves the network as it was.
    std::vector<float> values(state_->values.host.size()), statistics(state_->statistics.host.size());
    for (const Parameter& parameter : state_->list)
        copy_stored(file, stored, parameter, (parameter.learned ? values : statistics).data() + parameter.offset);
    const std::int64_t tracked = batches_in(file, stored);
    state_->values.host.swap(values);
    state_->statistics.host.swap(statistics);
    upload();
    state_->batches_tracked = tracked;
}

void Parameters::save(const std::filesystem::path& file, const std::map<std::string, std::string>& metadata) {
    download();
    std::vector<TensorToStore> tensors;
    const auto tracked = std::as_bytes(std::span(&state_->batches_tracked, 1));
    for (const Parameter& parameter : state_->list) {
        const std::vector<float>& flat = (parameter.learned ? state_->values : state_->statistics).host;
        tensors.push_back(stored_view(parameter, flat.data() + parameter.offset));
        // PyTorch keeps a counter, a scalar, after each pair of running statistics and asks for it when it loads.
        if (parameter.name.ends_with(kVariance))
            tensors.push_back(
                {parameter.name.substr(0, parameter.name.size() - kVariance.size()) + kTracked, "I64", {}, tracked});
    }
    write_safetensors(file, tensors, metadata);
}

void Parameters::load_momentum(const std::filesystem::path& file) {
    const auto stored = read_safetensors(file);
    for (const Parameter& parameter : state_->list)
        if (parameter.learned) copy_stored(file, stored, parameter, momentum().data() + parameter.offset);
    upload();
}

void Parameters::save_momentum(const std::filesystem::path& file) {
    download();
    std::vector<TensorToStore> tensors;
    for (const Parameter& parameter : state_->list)
        if (parameter.learned) tensors.push_back(stored_view(parameter, momentum().data() + parameter.offset));
    write_safetensors(file, tensors);
}

}  // namespace iwseg
