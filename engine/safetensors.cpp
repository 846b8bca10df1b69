#include "engine/safetensors.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/atomic_file.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

using nlohmann::json;

std::int64_t bytes_of_type(const std::string& type) {
    if (type == "F64" || type == "I64") return 8;
    if (type == "F32" || type == "I32") return 4;
    if (type == "BF16" || type == "F16") return 2;
    if (type == "U8" || type == "BOOL") return 1;
    return 0;
}

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what) {
    throw InputError(file.string() + " is not a usable safetensors file: " + what);
}

template <class T>
T load_at(const std::byte* bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

float half_to_float(std::uint16_t half) {
    const int exponent = half >> 10 & 31;
    const float mantissa = static_cast<float>(half & 1023);
    float value = exponent == 31  ? (half & 1023 ? std::numeric_limits<float>::quiet_NaN()
                                                 : std::numeric_limits<float>::infinity())
                  : exponent == 0 ? std::ldexp(mantissa, -24)
                                  : std::ldexp(mantissa + 1024.0f, exponent - 25);
    return half & 0x8000 ? -value : value;
}

template <class To>
To element(const std::string& type, const std::byte* at) {
    if (type == "F32") return static_cast<To>(load_at<float>(at));
    if (type == "F64") return static_cast<To>(load_at<double>(at));
    if (type == "I64") return static_cast<To>(load_at<std::int64_t>(at));
    if (type == "I32") return static_cast<To>(load_at<std::int32_t>(at));
    if (type == "BF16")
        return static_cast<To>(std::bit_cast<float>(static_cast<std::uint32_t>(load_at<std::uint16_t>(at)) << 16));
    if (type == "F16") return static_cast<To>(half_to_float(load_at<std::uint16_t>(at)));
    return static_cast<To>(load_at<std::uint8_t>(at));
}

template <class To>
std::vector<To> convert(const StoredTensor& tensor) {
    const std::int64_t size = bytes_of_type(tensor.type), count = tensor.elements();
    std::vector<To> values(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) values[i] = element<To>(tensor.type, tensor.bytes.data() + i * size);
    return values;
}

/// Reads one entry of the header; every number in it is checked before it is used.
StoredTensor read_entry(const std::filesystem::path& file, const std::string& name, const json& entry,
                        std::span<const std::byte> data) {
    StoredTensor tensor;
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape") ||
        !entry["shape"].is_array() || !entry.contains("data_offsets") || !entry["data_offsets"].is_array() ||
        entry["data_offsets"].size() != 2)
        refuse(file, "its entry for " + name + " lacks dtype, shape or data_offsets");
    tensor.type = entry["dtype"].get<std::string>();
    const std::int64_t size = bytes_of_type(tensor.type);
    if (size == 0) refuse(file, name + " has the type " + tensor.type + ", which iwseg does not read");
    std::uint64_t expected = static_cast<std::uint64_t>(size);
    for (const json& side : entry["shape"]) {
        if (!side.is_number_unsigned()) refuse(file, "the shape of " + name + " is not of whole numbers");
        const auto value = side.get<std::uint64_t>();
        if (value != 0 && expected > (std::uint64_t{1} << 62) / value)
            refuse(file, "the shape of " + name + " is larger than any memory");
        expected *= value;
        tensor.shape.push_back(static_cast<std::int64_t>(value));
    }
    if (!entry["data_offsets"][0].is_number_unsigned() || !entry["data_offsets"][1].is_number_unsigned())
        refuse(file, "the offsets of " + name + " are not whole numbers");
    const auto begin = entry["data_offsets"][0].get<std::uint64_t>(), end = entry["data_offsets"][1].get<std::uint64_t>();
    if (begin > end || end > data.size())
        refuse(file, "its header puts " + name + " at bytes " + std::to_string(begin) + " to " + std::to_string(end) +
                         ", but it holds " + std::to_string(data.size()) + " bytes of data");
    if (end - begin != expected)
        refuse(file, "its header gives " + name + " " + std::to_string(end - begin) + " bytes, but its shape needs " +
                         std::to_string(expected));
    tensor.bytes.assign(data.begin() + static_cast<std::ptrdiff_t>(begin), data.begin() + static_cast<std::ptrdiff_t>(end));
    return tensor;
}

}  // namespace

std::int64_t StoredTensor::elements() const {
    std::int64_t count = 1;
    for (const std::int64_t side : shape) count *= side;
    return count;
}

std::vector<float> StoredTensor::as_f32() const { return convert<float>(*this); }
std::vector<std::int32_t> StoredTensor::as_i32() const { return convert<std::int32_t>(*this); }

std::map<std::string, StoredTensor> read_safetensors(const std::filesystem::path& file,
                                                     std::map<std::string, std::string>* metadata) {
    const std::string text = read_text(file);
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    if (bytes.size() < 8) refuse(file, "it has " + std::to_string(bytes.size()) + " bytes");
    const auto header_bytes = load_at<std::uint64_t>(bytes.data());
    if (header_bytes > bytes.size() - 8)
        refuse(file, "its header claims " + std::to_string(header_bytes) + " bytes, but the file has " +
                         std::to_string(bytes.size()));
    const json header = json::parse(text.begin() + 8, text.begin() + 8 + static_cast<std::ptrdiff_t>(header_bytes),
                                    nullptr, false);
    if (!header.is_object()) refuse(file, "its header is not a JSON object");
    const auto data = bytes.subspan(8 + header_bytes);
    std::map<std::string, StoredTensor> tensors;
    for (const auto& [name, entry] : header.items()) {
        if (name != "__metadata__") {
            tensors.emplace(name, read_entry(file, name, entry, data));
        } else if (metadata && entry.is_object()) {
            for (const auto& [key, value] : entry.items())
                if (value.is_string()) (*metadata)[key] = value.get<std::string>();
        }
    }
    return tensors;
}

void write_safetensors(const std::filesystem::path& file, const std::vector<TensorToStore>& tensors,
                       const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::uint64_t offset = 0;
    for (const TensorToStore& tensor : tensors) {
        header[tensor.name] = {{"dtype", tensor.type},
                               {"shape", tensor.shape},
                               {"data_offsets", {offset, offset + tensor.bytes.size()}}};
        offset += tensor.bytes.size();
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // readers map the file: data starts at a multiple of 8
    const std::uint64_t header_bytes = text.size();
    AtomicFile out(file);
    out.write(std::as_bytes(std::span(&header_bytes, 1)));
    out.write(text);
    for (const TensorToStore& tensor : tensors) out.write(tensor.bytes);
    out.commit();
}

}  // namespace iwseg
