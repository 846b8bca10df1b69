#include "data/scan_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/letters.h"

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

bool is_data_of_header(const path& file) {
    const std::string ending = lower_case(file.extension().string());
    if (ending != ".raw" && ending != ".zraw") return false;
    return std::filesystem::exists(path(file).replace_extension(".mhd")) ||
           std::filesystem::exists(path(file).replace_extension(".MHD"));
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
