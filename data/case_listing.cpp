#include "data/case_listing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "data/formats.h"
#include "engine/letters.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

using nlohmann::json;
using std::filesystem::path;

bool by_name(const Case& a, const Case& b) {
    return a.name < b.name;
}

bool is_hidden(const std::string& name) {
    return name.starts_with('.');
}

/// Names of the files of a folder, in their order; none where it is missing.
std::vector<std::string> files_in(const path& folder) {
    std::vector<std::string> names;
    if (!std::filesystem::is_directory(folder)) return names;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

bool is_image(const std::string& name) {
    constexpr std::string_view others[] = {".nrrd", ".hdr", ".img",
                                           ".mgz",  ".tif", ".png"};  // in use, but not read here
    return find_format(name) ||
           std::any_of(std::begin(others), std::end(others), [&](std::string_view end) { return name.ends_with(end); });
}

/// The voxels of a .mhd.
bool is_data_file(const std::string& name, const std::string& ending) {
    return ending == ".mhd" && (name.ends_with(".raw") || name.ends_with(".zraw"));
}

struct ChannelFile {
    std::string name;
    std::size_t channel;
};

/// CASE_0001.nii.gz as ("CASE", 1).
std::optional<ChannelFile> channel_file(const std::string& name, const std::string& ending) {
    constexpr std::size_t suffix = 5;
    if (!name.ends_with(ending) || name.size() <= ending.size() + suffix) return std::nullopt;
    const std::string stem = name.substr(0, name.size() - ending.size()), digits = stem.substr(stem.size() - 4);
    const bool all_digits = std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); });
    if (stem[stem.size() - suffix] != '_' || !all_digits) return std::nullopt;
    return ChannelFile{stem.substr(0, stem.size() - suffix), static_cast<std::size_t>(std::stoi(digits))};
}

std::string counted(std::size_t count, const char* what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

struct Labels {
    std::set<std::string> of_case, no_case;  ///< names of cases; names of files
};

Labels find_labels(const CaseFolder& folder, const std::map<std::string, std::set<std::size_t>>& cases) {
    Labels labels;
    for (const std::string& name : files_in(folder.labels)) {
        if (is_hidden(name)) continue;
        const std::string stem = name.substr(0, name.size() - std::min(name.size(), folder.ending.size()));
        if (name.ends_with(folder.ending) && cases.contains(stem))
            labels.of_case.insert(stem);
        else if (is_image(name))
            labels.no_case.insert(name);
    }
    return labels;
}

/// Notes, or refuses, cases without labels and labels without cases.
void compare_labels(const CaseFolder& folder, const std::vector<Case>& cases, const Labels& labels,
                    std::vector<std::string>& notes) {
    std::vector<std::string> unlabelled;
    for (const Case& scan : cases)
        if (!scan.label) unlabelled.push_back(scan.name);
    const std::vector<std::string> spare(labels.no_case.begin(), labels.no_case.end());
    if (folder.to_train && !unlabelled.empty() && !spare.empty())
        throw InputError(fmt::format(
            "{} of {} have no label ({}), while {} holds {} of no case ({}): the label of {} is expected as {}",
            counted(unlabelled.size(), "case"), folder.images.string(), some_of(unlabelled), folder.labels.string(),
            counted(spare.size(), "file"), some_of(spare), unlabelled.front(),
            (folder.labels / (unlabelled.front() + folder.ending)).string()));
    if (!unlabelled.empty() && (folder.to_train || !labels.of_case.empty()))
        notes.push_back(fmt::format("{} of {} in {} have no label ({}): they can be predicted only", unlabelled.size(),
                                    counted(cases.size(), "case"), folder.images.string(), some_of(unlabelled)));
    if (!spare.empty())
        notes.push_back(fmt::format("{} holds {} of no case: {}", folder.labels.string(), counted(spare.size(), "file"),
                                    some_of(spare)));
}

// ---- Lists of the Decathlon

/// The path from the folder, its parts joined; what leads out of the folder is dropped, so that a name is a file's.
std::string case_name(const path& image, const path& folder) {
    const auto whole = [](const path& p) { return std::filesystem::absolute(p).lexically_normal(); };
    std::vector<std::string> parts;
    for (const path& part : whole(image).lexically_relative(whole(folder / "")))
        if (part != ".." && part != "." && part != "/") parts.push_back(part.string());
    if (parts.size() > 1 && (parts[0] == "imagesTr" || parts[0] == "imagesTs")) parts.erase(parts.begin());
    parts.back() = name_without_ending(parts.back());
    return fmt::format("{}", fmt::join(parts, "_"));
}

path listed_image(const json& entry, const path& folder) {
    const json image = entry.is_object() ? entry.value("image", json()) : entry;
    if (!image.is_string() || image.get<std::string>().empty())
        throw InputError(fmt::format("{} lists a case without an \"image\"", (folder / "dataset.json").string()));
    return (folder / image.get<std::string>()).lexically_normal();
}

}  // namespace

std::string some_of(const std::vector<std::string>& names) {
    constexpr std::size_t most = 3;
    const std::size_t shown = std::min(names.size(), most);
    const std::string text =
        fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
    return names.size() > most ? fmt::format("{} and {} more", text, names.size() - most) : text;
}

bool has_channel_files(const path& images, const std::string& ending) {
    const std::vector<std::string> names = files_in(images);
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return !is_hidden(name) && channel_file(name, ending).has_value();
    });
}

CaseListing list_case_folder(const CaseFolder& folder) {
    CaseListing listing;
    std::map<std::string, std::set<std::size_t>> cases;
    std::vector<std::string> hidden, others, beyond;
    for (const std::string& name : files_in(folder.images)) {
        const auto file = channel_file(name, folder.ending);
        if (is_hidden(name))
            hidden.push_back(name);
        else if (!file && is_data_file(name, folder.ending))
            continue;
        else if (!file)
            others.push_back(name);
        else if (cases[file->name].insert(file->channel); file->channel >= folder.channels.size())
            beyond.push_back(name);
    }
    const Labels labels = find_labels(folder, cases);
    for (const auto& [name, found] : cases) {
        Case& scan = listing.cases.emplace_back();
        scan.name = name;
        for (std::size_t channel = 0; channel < folder.channels.size(); ++channel) {
            scan.images.push_back(folder.images / fmt::format("{}_{:04}{}", name, channel, folder.ending));
            if (!found.contains(channel))
                throw InputError(fmt::format("{} is missing: case {} must have {} channels",
                                             scan.images.back().string(), name, folder.channels.size()));
        }
        if (labels.of_case.contains(name)) scan.label = folder.labels / (name + folder.ending);
    }
    std::vector<std::string>& notes = listing.notes;
    const std::string where = folder.images.string();
    if (!beyond.empty())
        notes.push_back(fmt::format("{} of {} not read: dataset.json names {} ({})",
                                    counted(beyond.size(), "file") + " (" + some_of(beyond) + ")",
                                    where + (beyond.size() == 1 ? " is" : " are"),
                                    counted(folder.channels.size(), "channel"), fmt::join(folder.channels, ", ")));
    if (!others.empty())
        notes.push_back(fmt::format("{} holds {} that {} not named CASE_0000{}: {}", where,
                                    counted(others.size(), "file"), others.size() == 1 ? "is" : "are", folder.ending,
                                    some_of(others)));
    if (!hidden.empty())
        notes.push_back(
            fmt::format("{} passed over in {}: {}", counted(hidden.size(), "hidden file"), where, some_of(hidden)));
    compare_labels(folder, listing.cases, labels, notes);
    return listing;
}

bool has_listed_files(const json& entries, const path& folder) {
    return std::any_of(entries.begin(), entries.end(),
                       [&](const json& entry) { return std::filesystem::exists(listed_image(entry, folder)); });
}

CaseListing list_entries(const json& entries, const path& folder, bool to_train) {
    CaseListing listing;
    std::map<path, std::optional<path>> label_of;
    std::vector<std::string> twice, missing;
    for (const json& entry : entries) {
        Case scan;
        const path image = listed_image(entry, folder);
        scan.name = case_name(image, folder);
        scan.images = {image};
        if (entry.is_object() && entry.contains("label") && entry["label"].is_string())
            scan.label = (folder / entry["label"].get<std::string>()).lexically_normal();
        if (const auto [known, fresh] = label_of.emplace(image, scan.label); !fresh) {
            if (known->second != scan.label)
                throw InputError(fmt::format("{} lists the image {} twice, with different labels",
                                             (folder / "dataset.json").string(), image.string()));
            twice.push_back(scan.name);
            continue;
        }
        std::vector<path> files = scan.images;
        if (scan.label) files.push_back(*scan.label);
        const auto absent =
            std::find_if(files.begin(), files.end(), [](const path& file) { return !std::filesystem::exists(file); });
        if (absent == files.end()) {
            listing.cases.push_back(std::move(scan));
            continue;
        }
        if (to_train)
            throw InputError(fmt::format("{} lists {}, which is missing: restore it, or take the case off the list",
                                         (folder / "dataset.json").string(), absent->string()));
        missing.push_back(absent->lexically_relative(folder).string());
        scan.label.reset();
        if (absent != files.begin()) listing.cases.push_back(std::move(scan));
    }
    std::sort(listing.cases.begin(), listing.cases.end(), by_name);
    if (!twice.empty())
        listing.notes.push_back(fmt::format("dataset.json lists {} more than once ({}): each counts once",
                                            counted(twice.size(), "case"), some_of(twice)));
    if (!missing.empty())
        listing.notes.push_back(fmt::format("dataset.json lists {} under \"test\" that {} not there ({}): passed over",
                                            counted(missing.size(), "file"), missing.size() == 1 ? "is" : "are",
                                            some_of(missing)));
    return listing;
}

void separate_names(std::vector<Case>& cases, std::vector<Case>& test_cases, std::vector<std::string>& notes) {
    std::set<std::vector<path>> to_train;
    std::map<std::string, const Case*> taken;
    const auto take = [&](const Case& scan) {
        const auto [known, fresh] = taken.emplace(lower_case(scan.name), &scan);
        if (fresh) return;
        throw InputError(fmt::format(
            "{} and {} would be cases {} and {}, {}: rename one, since their results would replace each other",
            known->second->images.front().string(), scan.images.front().string(), known->second->name, scan.name,
            known->second->name == scan.name ? "one name" : "which differ by upper and lower case only"));
    };
    for (const Case& scan : cases) {
        to_train.insert(scan.images);
        take(scan);
    }
    std::vector<std::string> both, renamed;
    std::erase_if(test_cases, [&](const Case& scan) {
        if (!to_train.contains(scan.images)) return false;
        both.push_back(scan.name);
        return true;
    });
    for (Case& scan : test_cases)
        if (taken.contains(lower_case(scan.name))) {
            renamed.push_back(scan.name);
            scan.name = scan.images.front().parent_path().filename().string() + "_" + scan.name;
        }
    std::sort(test_cases.begin(), test_cases.end(), by_name);
    for (const Case& scan : test_cases) take(scan);
    if (!both.empty())
        notes.push_back(fmt::format("{} listed both to train and to test ({}): they count as cases to train",
                                    counted(both.size(), "scan"), some_of(both)));
    if (!renamed.empty())
        notes.push_back(fmt::format("{} to test {} the name of one to train ({}): {}", counted(renamed.size(), "case"),
                                    renamed.size() == 1 ? "has" : "have", some_of(renamed),
                                    renamed.size() == 1
                                        ? "it is called FOLDER_CASE here, as in imagesTs_" + renamed[0]
                                        : "they are called FOLDER_CASE here, as in imagesTs_" + renamed[0]));
}

}  // namespace iwseg
