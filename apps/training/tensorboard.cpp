#include "apps/training/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace iwseg {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t value = byte;
        for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0u);
        table[byte] = value;
    }
    return table;
}

template <class T>
std::string little_endian(T value) {
    static_assert(std::endian::native == std::endian::little);
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

// Protobuf's wire format: a key (field number and wire type), then the value.
std::string varint(std::uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    return bytes + static_cast<char>(value);
}
std::string varint_field(int number, std::uint64_t value) {
    return varint(number << 3 | 0) + varint(value);
}
std::string double_field(int number, double value) {
    return varint(number << 3 | 1) + little_endian(value);
}
std::string bytes_field(int number, std::string_view value) {
    return varint(number << 3 | 2) + varint(value.size()) + std::string(value);
}
std::string float_field(int number, float value) {
    return varint(number << 3 | 5) + little_endian(value);
}

// Field numbers of tensorflow's event.proto and summary.proto.
constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5, kEventSessionLog = 7;
constexpr int kSummaryValue = 1, kValueTag = 1, kValueSimple = 2, kSessionStatus = 1;
constexpr std::uint64_t kSessionStart = 1;

double wall_time() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
    static constexpr auto table = crc_table();
    std::uint32_t value = ~0u;
    for (const char byte : bytes) value = value >> 8 ^ table[(value ^ static_cast<unsigned char>(byte)) & 0xFF];
    return ~value;
}

std::uint32_t masked_crc32c(std::string_view bytes) {
    return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u;
}

EventWriter::EventWriter(const std::filesystem::path& folder, std::int64_t first_step) {
    // TensorBoard reads files in the order of their names, so the time leads; microseconds keep two starts apart.
    const auto now = static_cast<std::int64_t>(wall_time() * 1e6);
    file_ = folder / fmt::format("events.out.tfevents.{:010}.{:06}.iwseg", now / 1'000'000, now % 1'000'000);
    descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (descriptor_ < 0) throw InputError("cannot write " + file_.string() + ": " + std::strerror(errno));
    add_event(0, bytes_field(kEventFileVersion, "brain.Event:2"));
    add_event(first_step, bytes_field(kEventSessionLog, varint_field(kSessionStatus, kSessionStart)));
}

EventWriter::~EventWriter() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

void EventWriter::add_scalars(std::int64_t step, const std::vector<std::pair<std::string, float>>& scalars) {
    std::string summary;
    for (const auto& [tag, value] : scalars)
        summary += bytes_field(kSummaryValue, bytes_field(kValueTag, tag) + float_field(kValueSimple, value));
    add_event(step, bytes_field(kEventSummary, summary));
}

void EventWriter::add_event(std::int64_t step, std::string_view fields) {
    const std::string event = double_field(kEventWallTime, wall_time()) +
                              varint_field(kEventStep, static_cast<std::uint64_t>(step)) + std::string(fields);
    const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
    const std::string record =
        length + little_endian(masked_crc32c(length)) + event + little_endian(masked_crc32c(event));
    // One write a record: a killed process leaves whole records.
    if (::write(descriptor_, record.data(), record.size()) != static_cast<ssize_t>(record.size()))
        throw InputError("cannot write " + file_.string() + ": " + (errno ? std::strerror(errno) : "disk full"));
}

}  // namespace iwseg
