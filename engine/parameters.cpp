#include "engine/parameters.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <string_view>

#include "kernels/error.h"

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

int Parameters::declare(const std::string& name, const std::vector<std::int64_t>& shape, bool learned) {
    if (const auto found = index_.find(name); found != index_.end()) {
        if (list_[found->second].shape != shape)
            throw std::invalid_argument("parameter " + name + " has the shape " + shape_text(list_[found->second].shape) +
                                        ", not " + shape_text(shape));
        return found->second;
    }
    Parameter parameter{name, shape, 0, 1, learned};
    for (const std::int64_t side : shape) parameter.elements *= side;
    if (device_) throw std::logic_error("parameter " + name + " is declared after placing");
    std::vector<float>& flat = (learned ? values_ : statistics_).host;
    parameter.offset = static_cast<std::int64_t>(flat.size());
    flat.resize(flat.size() + static_cast<std::size_t>(parameter.elements));
    index_.emplace(name, size());
    list_.push_back(std::move(parameter));
    return size() - 1;
}

std::vector<float>& Parameters::gradients() {
    gradients_.host.resize(values_.host.size());
    return gradients_.host;
}

std::vector<float>& Parameters::momentum() {
    momentum_.host.resize(values_.host.size());
    return momentum_.host;
}

void Parameters::place(const Kernels& device, Stream stream, bool training) {
    // Made now: a step allocates nothing.
    if (training) {
        gradients();
        momentum();
    }
    if (device.host_memory) return;
    device_ = &device;
    stream_ = stream;
    for (Flat* flat : {&values_, &statistics_, &gradients_, &momentum_})
        if (!flat->device && flat->bytes() > 0) flat->device = std::make_unique<DeviceMemory>(device, flat->bytes());
    upload();
}

void Parameters::upload() {
    for (const Flat* flat : {&values_, &statistics_, &momentum_})
        if (flat->device) device_->copy_to_device(stream_, flat->host.data(), flat->device->data(), flat->bytes());
    if (device_) device_->synchronise(stream_);
}

void Parameters::download() {
    for (Flat* flat : {&values_, &statistics_, &gradients_, &momentum_})
        if (flat->device) device_->copy_to_host(stream_, flat->device->data(), flat->host.data(), flat->bytes());
    if (device_) device_->synchronise(stream_);
}

float* Parameters::device_value(int index) {
    const Parameter& parameter = list_.at(index);
    return on_device(parameter.learned ? values_ : statistics_) + parameter.offset;
}

float* Parameters::device_gradient(int index) {
    if (!gradients_.device) gradients();
    return on_device(gradients_) + list_.at(index).offset;
}

int Parameters::index(const std::string& name) const {
    const auto found = index_.find(name);
    if (found == index_.end()) throw std::out_of_range("no parameter " + name);
    return found->second;
}

float* Parameters::value(int index) {
    const Parameter& parameter = list_.at(index);
    return (parameter.learned ? values_ : statistics_).host.data() + parameter.offset;
}

float* Parameters::gradient(int index) {
    const Parameter& parameter = list_.at(index);
    if (!parameter.learned) throw std::invalid_argument(parameter.name + " is not learned and has no gradient");
    return gradients().data() + parameter.offset;
}

void Parameters::load(const std::filesystem::path& file) {
    const auto stored = read_safetensors(file);
    for (const auto& [name, tensor] : stored)
        if (!index_.contains(name) && !is_tracked(name))
            throw InputError(file.string() + " holds the array " + name + ", which the network does not have");
    // All is checked into a copy first: a bad file leaves the network as it was.
    std::vector<float> values(values_.host.size()), statistics(statistics_.host.size());
    for (const Parameter& parameter : list_)
        copy_stored(file, stored, parameter, (parameter.learned ? values : statistics).data() + parameter.offset);
    const std::int64_t tracked = batches_in(file, stored);
    values_.host.swap(values);
    statistics_.host.swap(statistics);
    upload();
    batches_tracked = tracked;
}

void Parameters::save(const std::filesystem::path& file, const std::map<std::string, std::string>& metadata) {
    download();
    std::vector<TensorToStore> tensors;
    const auto tracked = std::as_bytes(std::span(&batches_tracked, 1));
    for (const Parameter& parameter : list_) {
        const std::vector<float>& flat = (parameter.learned ? values_ : statistics_).host;
        tensors.push_back(stored_view(parameter, flat.data() + parameter.offset));
        // PyTorch keeps a counter, a scalar, after each pair of running statistics and asks for it when it loads.
        if (parameter.name.ends_with(kVariance))
            tensors.push_back({parameter.name.substr(0, parameter.name.size() - kVariance.size()) + kTracked, "I64", {},
                               tracked});
    }
    write_safetensors(file, tensors, metadata);
}

void Parameters::load_momentum(const std::filesystem::path& file) {
    const auto stored = read_safetensors(file);
    for (const Parameter& parameter : list_)
        if (parameter.learned) copy_stored(file, stored, parameter, momentum().data() + parameter.offset);
    upload();
}

void Parameters::save_momentum(const std::filesystem::path& file) {
    download();
    std::vector<TensorToStore> tensors;
    for (const Parameter& parameter : list_)
        if (parameter.learned) tensors.push_back(stored_view(parameter, momentum().data() + parameter.offset));
    write_safetensors(file, tensors);
}

}  // namespace iwseg
