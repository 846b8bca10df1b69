#include "data/channel_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/letters.h"
#include "base/nearest_name.h"

namespace iwseg {
namespace {

using Numbers = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

Numbers channels_where(const Dataset& dataset, const std::function<bool(const std::string&)>& is_wanted) {
    Numbers found;
    for (std::size_t number = 0; number < dataset.channels.size(); ++number)
        if (is_wanted(dataset.channels[number])) found.push_back(static_cast<std::int64_t>(number));
    return found;
}

Numbers channels_called(const Dataset& dataset, const std::string& name) {
    return channels_where(dataset, [&](const std::string& own) { return own == name; });
}

/// Those that a name or a number means: one, where it is meant to be one.
Numbers channels_meant(const Dataset& dataset, const std::string& name_or_number) {
    Numbers found = channels_called(dataset, name_or_number);
    for (std::size_t number = 0; found.empty() && number < dataset.channels.size(); ++number)
        if (name_or_number == std::to_string(number)) found.push_back(static_cast<std::int64_t>(number));
    return found;
}

std::int64_t channel_number(const Dataset& dataset, const std::string& channel, const char* key) {
    const Numbers found = channels_meant(dataset, channel);
    if (found.size() == 1) return found[0];
    const std::string all = fmt::format("{}", fmt::join(dataset.channels, ", "));
    if (found.size() > 1)
        throw InputError(fmt::format("{} names channel {}, but {} has several of that name, {}: give its number, {}",
                                     key, channel, dataset.folder.string(), all, fmt::join(found, " or ")));
    const std::string nearest = nearest_name(channel, dataset.channels);
    throw InputError(fmt::format("{} names channel {} but {} has {}{}", key, channel, dataset.folder.string(), all,
                                 nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest)));
}

Names names_of(const Dataset& dataset, const Numbers& channels) {
    Names names;
    for (const std::int64_t channel : channels) names.push_back(dataset.channels[static_cast<std::size_t>(channel)]);
    return names;
}

Numbers all_but(const Dataset& dataset, std::optional<std::int64_t> mask) {
    Numbers channels = channels_where(dataset, [](const std::string&) { return true; });
    std::erase(channels, mask.value_or(-1));
    return channels;
}

/// Whether the channels that options.channels name are there, and have those names.
bool chooses(const Dataset& dataset, const PreparationOptions& options, const Names& names) {
    const auto is_clear = [&](const std::string& channel) { return channels_meant(dataset, channel).size() == 1; };
    return std::all_of(options.channels.begin(), options.channels.end(), is_clear) &&
           names == selected_names(dataset, options);
}

/// The channels that may be the one of that name: of the same letters, or else the same but for upper and lower case;
/// the mask only where there is no other.
Numbers candidates(const Dataset& dataset, const std::string& name, std::optional<std::int64_t> mask) {
    Numbers found = channels_called(dataset, name);
    if (found.empty())
        found = channels_where(dataset, [&](const std::string& own) { return lower_case(own) == lower_case(name); });
    if (found.size() > 1) std::erase(found, mask.value_or(-1));
    return found;
}

}  // namespace

std::vector<std::int64_t> selected_channels(const Dataset& dataset, const PreparationOptions& options) {
    if (!options.channel_numbers.empty()) return options.channel_numbers;
    Numbers channels;
    for (const std::string& channel : options.channels)
        channels.push_back(channel_number(dataset, channel, "channels"));
    if (!channels.empty()) return channels;
    channels = all_but(dataset, mask_channel(dataset, options));
    if (channels.empty()) throw InputError("mask_channel names the only channel of " + dataset.folder.string());
    return channels;
}

std::vector<std::string> selected_names(const Dataset& dataset, const PreparationOptions& options) {
    return names_of(dataset, selected_channels(dataset, options));
}

std::optional<std::int64_t> mask_channel(const Dataset& dataset, const PreparationOptions& options) {
    if (options.mask_channel.empty()) return std::nullopt;
    return channel_number(dataset, options.mask_channel, "mask_channel");
}

std::vector<std::int64_t> match_channels(const Dataset& dataset, const std::vector<std::string>& trained,
                                         const PreparationOptions& options, std::string& note) {
    const std::optional<std::int64_t> mask = mask_channel(dataset, options);
    if (chooses(dataset, options, trained)) return selected_channels(dataset, options);
    const std::string both = fmt::format("the network was trained on {}, and {} has {}", fmt::join(trained, ", "),
                                         dataset.folder.string(), fmt::join(dataset.channels, ", "));
    Numbers matched;
    for (auto name = trained.begin(); name != trained.end(); ++name) {
        const Numbers found = candidates(dataset, *name, mask);
        if (found.empty()) continue;
        // The nth of several channels of one name is the nth here, where no more and no fewer are there.
        const auto nth = static_cast<std::size_t>(std::count(trained.begin(), name, *name));
        const bool is_clear = std::ssize(found) == std::count(trained.begin(), trained.end(), *name);
        if (!is_clear || std::count(matched.begin(), matched.end(), found[nth]) > 0)
            throw InputError(
                fmt::format("which channel is {} is not clear: {}; give each a name of its own", *name, both));
        matched.push_back(found[nth]);
    }
    if (matched.size() == trained.size()) return matched;
    Numbers others = all_but(dataset, mask);
    if (!matched.empty() || others.size() != trained.size()) throw InputError("the channels do not match: " + both);
    note = "channels have other names and are taken by their position: " + both;
    return others;
}

}  // namespace iwseg
