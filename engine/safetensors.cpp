#include "engine/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // as the format's own library has it

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
    float value = exponent == 31
                      ? (half & 1023 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity())
                  : exponent == 0 ? std::ldexp(mantissa, -24)
                                  : std::ldexp(mantissa + 1024.0f, exponent - 25);
    return half & 0x8000 ? -value : value;
}

template <class To, class From>
To converted(From value) {
    if constexpr (std::is_integral_v<To>) {
        // Between these whole numbers no conversion loses but the fraction; NaN is not between them.
        constexpr auto low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
        const auto exact = static_cast<double>(value);
        if (!(exact >= low && exact <= high))
            throw InputError("holds " + std::to_string(value) + ", where a whole number from " + std::to_string(low) +
                             " to " + std::to_string(high) + " was expected");
    }
    return static_cast<To>(value);
}

template <class To>
To element(const std::string& type, const std::byte* at) {
    if (type == "F32") return converted<To>(load_at<float>(at));
    if (type == "F64") return converted<To>(load_at<double>(at));
    if (type == "I64") return converted<To>(load_at<std::int64_t>(at));
    if (type == "I32") return converted<To>(load_at<std::int32_t>(at));
    if (type == "BF16")
        return converted<To>(std::bit_cast<float>(static_cast<std::uint32_t>(load_at<std::uint16_t>(at)) << 16));
    if (type == "F16") return converted<To>(half_to_float(load_at<std::uint16_t>(at)));
    return converted<To>(load_at<std::uint8_t>(at));
}

template <class To>
std::vector<To> convert(const StoredTensor& tensor) {
    const std::int64_t size = bytes_of_type(tensor.type), count = tensor.elements();
    std::vector<To> values(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) values[i] = element<To>(tensor.type, tensor.bytes.data() + i * size);
    return values;
}

/// Where a tensor's bytes lie after the header.
struct Entry {
    std::string name;
    StoredTensor tensor;  ///< without its bytes
    std::uint64_t begin = 0, end = 0;
};

/// Reads one entry of the header; every number in it is checked before it is used.
Entry read_entry(const std::filesystem::path& file, const std::string& name, const json& entry, std::size_t data) {
    Entry read{name, {}, 0, 0};
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape") ||
        !entry["shape"].is_array() || !entry.contains("data_offsets") || !entry["data_offsets"].is_array() ||
        entry["data_offsets"].size() != 2)
        refuse(file, "its entry for " + name + " lacks dtype, shape or data_offsets");
    read.tensor.type = entry["dtype"].get<std::string>();
    const std::int64_t size = bytes_of_type(read.tensor.type);
    if (size == 0) refuse(file, name + " has the type " + read.tensor.type + ", which iwseg does not read");
    std::uint64_t expected = static_cast<std::uint64_t>(size);
    for (const json& side : entry["shape"]) {
        if (!side.is_number_unsigned()) refuse(file, "the shape of " + name + " is not of whole numbers");
        const auto value = side.get<std::uint64_t>();
        // Each side by itself too: once one is 0, so is the product.
        constexpr std::uint64_t most = std::uint64_t{1} << 62;
        if (value > most || (value != 0 && expected > most / value))
            refuse(file, "the shape of " + name + " is larger than any memory");
        expected *= value;
        read.tensor.shape.push_back(static_cast<std::int64_t>(value));
    }
    if (!entry["data_offsets"][0].is_number_unsigned() || !entry["data_offsets"][1].is_number_unsigned())
        refuse(file, "the offsets of " + name + " are not whole numbers");
    read.begin = entry["data_offsets"][0].get<std::uint64_t>();
    read.end = entry["data_offsets"][1].get<std::uint64_t>();
    if (read.begin > read.end || read.end > data)
        refuse(file, "its header puts " + name + " at bytes " + std::to_string(read.begin) + " to " +
                         std::to_string(read.end) + ", but it holds " + std::to_string(data) + " bytes of data");
    if (read.end - read.begin != expected)
        refuse(file, "its header gives " + name + " " + std::to_string(read.end - read.begin) +
                         " bytes, but its shape needs " + std::to_string(expected));
    return read;
}

/// Throws unless every byte after the header belongs to one tensor, as the format asks: bytes of two tensors, or of
/// none, are a damaged file.
void require_covered(const std::filesystem::path& file, std::vector<Entry>& entries, std::size_t data) {
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
    std::uint64_t covered = 0;
    for (const Entry& entry : entries) {
        if (entry.begin != covered)
            refuse(file, entry.name + " begins at byte " + std::to_string(entry.begin) + " of the data, where " +
                             std::to_string(covered) + " was expected: tensors " +
                             (entry.begin < covered ? "overlap" : "leave a hole"));
        covered = entry.end;
    }
    if (covered != data)
        refuse(file, std::to_string(data - covered) + " bytes follow its last tensor, where none was expected");
}

/// Throws where the text is not one JSON object, or a name comes twice in an object, of which readers take either.
json parse_header(const std::filesystem::path& file, std::string_view text) {
    std::vector<std::set<std::string>> names;  // of the objects that are open
    const auto look = [&](int, json::parse_event_t event, const json& parsed) {
        if (event == json::parse_event_t::object_start) names.emplace_back();
        if (event == json::parse_event_t::object_end) names.pop_back();
        if (event == json::parse_event_t::key && !names.back().insert(parsed.get<std::string>()).second)
            refuse(file, "its header has the name " + parsed.get<std::string>() + " twice");
        return true;
    };
    // The parser takes a zero byte for the text's end, and passes over a mark of the byte order.
    const bool is_text = text.find('\0') == std::string_view::npos && !text.starts_with("\xEF\xBB\xBF");
    json header = is_text ? json::parse(text.begin(), text.end(), look, false) : json();
    if (!header.is_object()) refuse(file, "its header is not a JSON object");
    return header;
}

void read_metadata(const std::filesystem::path& file, const json& entry, std::map<std::string, std::string>& metadata) {
    if (entry.is_null()) return;
    if (!entry.is_object()) refuse(file, "its __metadata__ is not a JSON object");
    for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) refuse(file, "the value of " + key + " in its __metadata__ is not a string");
        metadata[key] = value.get<std::string>();
    }
}

/// The header's length, from the first 8 of the file's bytes.
std::uint64_t header_bytes_of(const std::filesystem::path& file, std::span<const std::byte> first,
                              std::uint64_t file_bytes) {
    if (file_bytes < 8) refuse(file, "it has " + std::to_string(file_bytes) + " bytes");
    const auto header_bytes = load_at<std::uint64_t>(first.data());
    if (header_bytes > kMostHeaderBytes)
        refuse(file, "its header claims " + std::to_string(header_bytes) + " bytes, but at most " +
                         std::to_string(kMostHeaderBytes) + " are allowed");
    if (header_bytes > file_bytes - 8)
        refuse(file, "its header claims " + std::to_string(header_bytes) + " bytes, but the file has " +
                         std::to_string(file_bytes));
    return header_bytes;
}

/// The entries of a header that `data` bytes follow, in the order of their bytes. All of it is checked.
std::vector<Entry> read_entries(const std::filesystem::path& file, std::string_view text, std::size_t data,
                                std::map<std::string, std::string>* metadata) {
    const json header = parse_header(file, text);
    std::vector<Entry> entries;
    std::map<std::string, std::string> found;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__")
            read_metadata(file, entry, found);
        else
            entries.push_back(read_entry(file, name, entry, data));
    }
    require_covered(file, entries, data);
    if (metadata) metadata->insert(found.begin(), found.end());
    return entries;
}

}  // namespace

std::int64_t StoredTensor::elements() const {
    std::int64_t count = 1;
    for (const std::int64_t side : shape) count *= side;
    return count;
}

std::vector<float> StoredTensor::as_f32() const {
    return convert<float>(*this);
}
std::vector<std::int32_t> StoredTensor::as_i32() const {
    return convert<std::int32_t>(*this);
}

std::map<std::string, StoredTensor> read_safetensors(const std::filesystem::path& file,
                                                     std::map<std::string, std::string>* metadata) {
    const std::string text = read_text(file);
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    const std::uint64_t header_bytes = header_bytes_of(file, bytes, bytes.size());
    const auto data = bytes.subspan(8 + header_bytes);
    std::map<std::string, StoredTensor> tensors;
    for (Entry& entry : read_entries(file, std::string_view(text).substr(8, header_bytes), data.size(), metadata)) {
        const auto part = data.subspan(entry.begin, entry.end - entry.begin);
        entry.tensor.bytes.assign(part.begin(), part.end());
        tensors.emplace(std::move(entry.name), std::move(entry.tensor));
    }
    return tensors;
}

std::map<std::string, StoredTensor> read_safetensors_header(const std::filesystem::path& file,
                                                            std::map<std::string, std::string>* metadata) {
    std::error_code no_size;
    const std::uint64_t file_bytes = std::filesystem::file_size(file, no_size);
    std::ifstream in(file, std::ios::binary);
    // A pipe has no size and is read whole; a folder, or what cannot be opened, is refused there with the reason.
    if (no_size || !in || !std::filesystem::is_regular_file(file, no_size)) {
        auto tensors = read_safetensors(file, metadata);
        for (auto& [name, tensor] : tensors) tensor.bytes = {};
        return tensors;
    }
    std::string text(static_cast<std::size_t>(std::min<std::uint64_t>(8, file_bytes)), '\0');
    const auto read = [&](std::size_t from, std::size_t count) {
        if (!in.read(text.data() + from, static_cast<std::streamsize>(count)))
            throw InputError("cannot read " + file.string() + (in.eof() ? ": it ends early" : ""));
    };
    read(0, text.size());
    const std::uint64_t header_bytes =
        header_bytes_of(file, std::as_bytes(std::span(text.data(), text.size())), file_bytes);
    text.resize(8 + header_bytes);
    read(8, header_bytes);
    std::map<std::string, StoredTensor> tensors;
    for (Entry& entry : read_entries(file, std::string_view(text).substr(8), file_bytes - 8 - header_bytes, metadata))
        tensors.emplace(std::move(entry.name), std::move(entry.tensor));
    return tensors;
}

void write_safetensors(const std::filesystem::path& file, const std::vector<TensorToStore>& tensors,
                       const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::uint64_t offset = 0;
    for (const TensorToStore& tensor : tensors) {
        header[tensor.name] = {
            {"dtype", tensor.type}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
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
