#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace iwseg {

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as TFRecord files use.
std::uint32_t crc32c(std::string_view bytes);
/// The same, masked as TFRecord stores it.
std::uint32_t masked_crc32c(std::string_view bytes);

/// Writes scalars as TensorBoard reads them: an event file of TFRecords, each a protobuf Event of one step.
class EventWriter {
  public:
    /// Starts a file of its own in the folder. TensorBoard drops what earlier files there say of first_step and later.
    /// Throws InputError where it cannot be written, here and below.
    EventWriter(const std::filesystem::path& folder, std::int64_t first_step);
    ~EventWriter();
    EventWriter(const EventWriter&) = delete;
    EventWriter& operator=(const EventWriter&) = delete;

    void add_scalars(std::int64_t step, const std::vector<std::pair<std::string, float>>& scalars);

  private:
    void add_event(std::int64_t step, std::string_view fields);

    std::filesystem::path file_;
    int descriptor_ = -1;
};

}  // namespace iwseg
