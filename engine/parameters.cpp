#include "engine/parameters.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string_view>

#include "base/error.h"
#include "engine/stored_parameter.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

constexpr const char* kTracked = "num_batches_tracked";

bool is_tracked(const std::string& name) {
    const std::string_view ending = kTracked;
    return name.size() > ending.size() && name.ends_with(ending);
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

void Parameters::place(const Backend& device, Stream stream, bool training) {
    if (training) gradients();  // made now: a step allocates nothing
    if (device.host_memory) return;
    if (state_->device) state_->device->synchronise(state_->stream);  // what another stream has at work
    state_->device = &device;
    state_->stream = stream;
    // Of a parameter that no call writes, as of a part that is not compiled, the gradient is 0 as on the host.
    for (FlatArray* flat : {&state_->values, &state_->statistics, &state_->gradients}) flat->place(device, stream);
    device.synchronise(stream);
}

void Parameters::upload() {
    if (!state_->device) return;
    for (const FlatArray* flat : {&state_->values, &state_->statistics}) flat->upload(*state_->device, state_->stream);
    state_->device->synchronise(state_->stream);
}

void Parameters::download() {
    if (!state_->device) return;
    for (FlatArray* flat : {&state_->values, &state_->statistics, &state_->gradients})
        flat->download(*state_->device, state_->stream);
    state_->device->synchronise(state_->stream);
}

float* Parameters::device_value(ParameterId id) const {
    const Parameter& parameter = (*this)[id];
    return (parameter.learned ? state_->values : state_->statistics).on_device() + parameter.offset;
}

float* Parameters::device_gradient(ParameterId id) const {
    if (!state_->gradients.has_copy()) gradients();
    return state_->gradients.on_device() + (*this)[id].offset;
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
    load(read_safetensors(file), file.string());
}

void Parameters::load(const std::map<std::string, StoredTensor>& stored, const std::string& file) {
    for (const auto& [name, tensor] : stored)
        if (!state_->index.contains(name) && !is_tracked(name))
            throw InputError(file + " holds the array " + name + ", which the network does not have");
    // All is checked into a copy first: a bad file leaves the network as it was.
    std::vector<float> values(state_->values.host.size()), statistics(state_->statistics.host.size());
    for (const Parameter& parameter : state_->list)
        copy_stored(file, stored, parameter.name, parameter,
                    (parameter.learned ? values : statistics).data() + parameter.offset);
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
        tensors.push_back(to_store(parameter.name, parameter, flat.data() + parameter.offset));
        // PyTorch keeps a counter, a scalar, after each pair of running statistics and asks for it when it loads.
        if (parameter.name.ends_with(kRunningVariance))
            tensors.push_back({parameter.name.substr(0, parameter.name.size() - kRunningVariance.size()) + kTracked,
                               "I64",
                               {},
                               tracked});
    }
    write_safetensors(file, tensors, metadata);
}

}  // namespace iwseg
