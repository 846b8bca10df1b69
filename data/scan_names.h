#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace iwseg {

// What the name of a scan's file says of it.

struct ChannelName {
    std::string scan;
    std::int64_t channel;
};

/// "CASE" and 1 of "CASE_0001", a file's name without its ending; nothing where it does not end in four digits.
std::optional<ChannelName> channel_name(const std::string& stem);

/// Throws InputError that quotes the name where it is not UTF-8, which results and what is written of them could not
/// tell apart.
void require_utf8(const std::filesystem::path& file);

}  // namespace iwseg
