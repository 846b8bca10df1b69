#include "data/scan_listing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/letters.h"
#include "base/nearest_name.h"
#include "base/some_names.h"
#include "data/scan_names.h"
#include "data/volume/formats.h"
#include "data/volume/volume.h"

namespace iwseg {
namespace {

using std::filesystem::path;

constexpr std::int64_t kWholeScan = -1;  // a file without a channel's number: all that its scan has

/// The files of each case by channel.
using CaseFiles = std::map<std::string, std::map<std::int64_t, path>>;

/// Throws where two files are one channel of one case, or names differ by upper and lower case only.
CaseFiles group(const std::vector<path>& files) {
    const bool numbered = std::any_of(files.begin(), files.end(), [](const path& file) {
        const auto known = channel_name(name_without_ending(file));
        return known && known->channel == 0;
    });
    CaseFiles cases;
    std::map<std::string, std::pair<std::string, path>> taken;
    for (const path& file : files) {
        const std::string stem = name_without_ending(file);
        const auto [name, channel] =
            (numbered ? channel_name(stem) : std::nullopt).value_or(ChannelName{stem, kWholeScan});
        auto& of_case = cases[name];
        const auto [first, fresh] = taken.emplace(lower_case(name), std::pair{name, file});
        const bool mixed = !of_case.empty() && (of_case.begin()->first == kWholeScan) != (channel == kWholeScan);
        const auto same = of_case.find(channel);
        if (mixed || same != of_case.end() || first->second.first != name)
            throw InputError(
                fmt::format("{} and {} would both be {} of case {}: results would replace each other; rename "
                            "or leave out one",
                            (same != of_case.end() ? same->second : first->second.second).string(), file.string(),
                            channel > 0 ? fmt::format("channel {}", channel) : "the image", first->second.first));
        of_case.emplace(channel, file);
    }
    return cases;
}

std::string layout_text(const std::vector<std::vector<std::string>>& layouts) {
    std::vector<std::string> all;
    for (const auto& names : layouts)
        if (const std::string text = fmt::format("{} ({})", names.size(), fmt::join(names, ", "));
            std::find(all.begin(), all.end(), text) == all.end())
            all.push_back(text);
    return fmt::format("{}", fmt::join(all, " or "));
}

/// How many channels the files have, from 0 on without a gap; nothing where there is a gap. Opens a file of all
/// channels.
std::optional<std::int64_t> channel_count(const std::map<std::int64_t, path>& files) {
    if (files.begin()->first == kWholeScan) return read_channel_count(files.begin()->second);
    const std::int64_t last = files.rbegin()->first;
    return last + 1 == std::ssize(files) ? std::optional(last + 1) : std::nullopt;
}

const std::vector<std::string>* layout_of(const ListingOptions& options, std::optional<std::int64_t> count) {
    const auto fits = [&](const auto& names) { return std::ssize(names) == count; };
    const auto found = std::find_if(options.layouts.begin(), options.layouts.end(), fits);
    return found == options.layouts.end() ? nullptr : &*found;
}

/// "a has channels 0 and 2".
std::string channels_text(const std::string& name, const std::map<std::int64_t, path>& files) {
    if (files.begin()->first == kWholeScan)
        return fmt::format("{} has {} channels", name, read_channel_count(files.begin()->second));
    std::vector<std::string> numbers;
    for (const auto& [channel, file] : files) numbers.push_back(fmt::format("_{:04}", channel));
    return fmt::format("{} has {}", name, fmt::join(numbers, ", "));
}

CaseFiles wanted_of(CaseFiles cases, const std::vector<std::string>& only, const std::string& where) {
    if (only.empty()) return cases;
    CaseFiles wanted;
    std::vector<std::string> names;
    for (const auto& [name, files] : cases) names.push_back(name);
    for (const std::string& name : only) {
        const auto found = cases.find(name);
        if (found == cases.end()) {
            const std::string nearest = nearest_name(name, names);
            throw InputError(fmt::format("{} has no case {}{}", where, name,
                                         nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest)));
        }
        wanted.insert(*found);
    }
    return wanted;
}

/// Cases of one layout. Throws where that is not so.
ScanListing to_listing(const CaseFiles& cases, const ListingOptions& options, const std::string& where) {
    ScanListing listing;
    const std::vector<std::string>* layout = nullptr;
    std::vector<std::string> wrong;
    for (const auto& [name, files] : cases) {
        const auto* own = layout_of(options, channel_count(files));
        if (!layout) layout = own;
        if (!own || own != layout) {
            wrong.push_back(channels_text(name, files));
            continue;
        }
        Case& scan = listing.cases.emplace_back();
        scan.name = name;
        for (const auto& [channel, file] : files) scan.images.push_back(file);
    }
    if (!wrong.empty())
        throw InputError(
            fmt::format("{} of the {} scans in {} {} not the channels of the others, or not those that the "
                        "network takes, {}: {}; complete them, or name the others by --cases",
                        wrong.size(), cases.size(), where, wrong.size() == 1 ? "has" : "have",
                        layout_text(options.layouts), some_names(wrong)));
    listing.channels = *layout;
    if (layout->size() > 1) {
        std::vector<std::string> numbered;
        for (std::size_t channel = 0; channel < layout->size(); ++channel)
            numbered.push_back(fmt::format("{} is {}", channel, (*layout)[channel]));
        listing.notes.push_back(fmt::format("channels are taken by their position: {}", fmt::join(numbered, ", ")));
    }
    return listing;
}

std::vector<std::string> names_of(const std::vector<path>& files) {
    std::vector<std::string> names;
    for (const path& file : files) names.push_back(file.filename().string());
    return names;
}

void note_passed_over(const std::vector<path>& files, const char* one, const char* many, const path& folder,
                      std::vector<std::string>& notes) {
    if (!files.empty())
        notes.push_back(fmt::format("{} {} in {} passed over: {}", files.size(), files.size() == 1 ? one : many,
                                    folder.string(), some_names(names_of(files))));
}

}  // namespace

ScanListing list_scan_folder(const path& folder, const ListingOptions& options) {
    std::vector<path> entries, scans, hidden, folders, others;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
        entries.push_back(entry->path());
    if (error) throw InputError(fmt::format("cannot read the folder {}: {}", folder.string(), error.message()));
    std::sort(entries.begin(), entries.end());
    for (const path& entry : entries) {
        const bool is_hidden = entry.filename().string().starts_with('.');
        const bool is_folder = std::filesystem::is_directory(entry, error);
        if (is_data_of_header(entry)) continue;
        (is_hidden ? hidden : is_folder ? folders : find_format(entry) ? scans : others).push_back(entry);
    }
    if (scans.empty())
        throw InputError(fmt::format("{} holds no scan: files CASE_0000.nii.gz or CASE.nii.gz were expected, in {}{}",
                                     folder.string(), known_endings(),
                                     others.empty() ? "" : fmt::format("; it holds {}", some_names(names_of(others)))));
    std::for_each(scans.begin(), scans.end(), require_utf8);
    ScanListing listing = to_listing(wanted_of(group(scans), options.only, folder.string()), options, folder.string());
    note_passed_over(hidden, "hidden file", "hidden files", folder, listing.notes);
    note_passed_over(folders, "folder", "folders", folder, listing.notes);
    note_passed_over(others, "file of no known format", "files of no known format", folder, listing.notes);
    return listing;
}

ScanListing list_scan_files(const std::vector<path>& files, const ListingOptions& options) {
    for (const path& file : files) {
        format_of(file);
        require_utf8(file);
        if (std::count(files.begin(), files.end(), file) > 1)
            throw InputError(fmt::format("--input names {} twice, but the network takes {}, one a channel",
                                         file.string(), layout_text(options.layouts)));
    }
    const std::string where = fmt::format("--input ({})", some_names(names_of(files)));
    const auto whole = [&](const CaseFiles& cases) {
        return std::all_of(cases.begin(), cases.end(), [&](const auto& entry) {
            return entry.second.begin()->first != kWholeScan && layout_of(options, channel_count(entry.second));
        });
    };
    // As many files as channels, in no cases of their own, are one scan.
    if (files.size() > 1 && layout_of(options, std::ssize(files))) {
        bool own_cases = false;
        try {
            own_cases = whole(group(files));
        } catch (const InputError&) {  // p1/flair.nii.gz and p2/flair.nii.gz cannot be cases, but can be channels
        }
        if (!own_cases) {
            const std::string stem = name_without_ending(files.front());
            const auto known = channel_name(stem);
            CaseFiles one;
            auto& channels = one[known && known->channel == 0 ? known->scan : stem];
            for (const path& file : files) channels.emplace(std::ssize(channels), file);
            return to_listing(wanted_of(one, options.only, where), options, where);
        }
    }
    return to_listing(wanted_of(group(files), options.only, where), options, where);
}

}  // namespace iwseg
