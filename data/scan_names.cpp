#include "data/scan_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace iwseg {

using std::filesystem::path;

std::optional<ChannelName> channel_name(const std::string& stem) {
    constexpr std::size_t suffix = 5;
    if (stem.size() <= suffix || stem[stem.size() - suffix] != '_') return std::nullopt;
    const std::string digits = stem.substr(stem.size() - suffix + 1);
    if (!std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); }))
        return std::nullopt;
    return ChannelName{stem.substr(0, stem.size() - suffix), std::stoi(digits)};
}

void require_utf8(const path& file) {
    using nlohmann::json;
    const json name = file.string();
    try {
        (void)name.dump();
    } catch (const json::type_error&) {
        throw InputError(fmt::format("the name {} is not UTF-8 (what is not stands as \xEF\xBF\xBD here): rename it",
                                     name.dump(-1, ' ', false, json::error_handler_t::replace)));
    }
}

}  // namespace iwseg
