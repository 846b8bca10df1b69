#include "data/case_listing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/letters.h"
#include "base/some_names.h"
#include "data/scan_names.h"
#include "data/volume/formats.h"

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

/// CASE_0001.nii.gz of a folder whose files end in .nii.gz.
std::optional<ChannelName> channel_file(const std::string& name, const std::string& ending) {
    return name.ends_with(ending) ? channel_name(name.substr(0, name.size() - ending.size())) : std::nullopt;
}

std::string counted(std::size_t count, const char* what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

struct Labels {
    std::set<std::string> of_case, no_case;  ///< names of cases; names of files
};

Labels find_labels(const CaseFolder& folder, const std::map<std::string, std::set<std::int64_t>>& cases) {
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

std::vector<std::string> unlabelled_of(const std::vector<Case>& cases) {
    std::vector<std::string> names;
    for (const Case& scan : cases)
        if (!scan.label) names.push_back(scan.name);
    return names;
}

/// Of cases to test, only where others have labels.
void note_unlabelled(const std::vector<Case>& cases, const std::string& where, bool to_train,
                     std::vector<std::string>& notes) {
    const std::vector<std::string> names = unlabelled_of(cases);
    if (!names.empty() && (to_train || names.size() < cases.size()))
        notes.push_back(fmt::format("{} of {} in {} have no label ({}): they can be predicted only", names.size(),
                                    counted(cases.size(), "case"), where, some_names(names)));
}

/// Notes, or refuses, cases without labels and labels without cases.
void compare_labels(const CaseFolder& folder, const std::vector<Case>& cases, const Labels& labels,
                    std::vector<std::string>& notes) {
    const std::vector<std::string> unlabelled = unlabelled_of(cases);
    const std::vector<std::string> spare(labels.no_case.begin(), labels.no_case.end());
    if (folder.to_train && !unlabelled.empty() && !spare.empty())
        throw InputError(fmt::format(
            "{} of {} have no label ({}), while {} holds {} of no case ({}): the label of {} is expected as {}",
            counted(unlabelled.size(), "case"), folder.images.string(), some_names(unlabelled), folder.labels.string(),
            counted(spare.size(), "file"), some_names(spare), unlabelled.front(),
            (folder.labels / (unlabelled.front() + folder.ending)).string()));
    note_unlabelled(cases, folder.images.string(), folder.to_train, notes);
    if (!spare.empty())
        notes.push_back(fmt::format("{} holds {} of no case: {}", folder.labels.string(), counted(spare.size(), "file"),
                                    some_names(spare)));
}

// ---- Lists of the Decathlon

/// The path from the folder, its parts joined; what leads out of the folder is dropped, so that a name is a file's.
/// listed: as dataset.json writes it.
std::string case_name(const std::string& listed, const path& folder) {
    const auto whole = [](const path& p) { return std::filesystem::absolute(p).lexically_normal(); };
    std::vector<std::string> parts;
    for (const path& part : whole(folder / listed).lexically_relative(whole(folder / "")))
        if (part != ".." && part != "." && part != "/") parts.push_back(part.string());
    if (parts.size() > 1 && (parts[0] == "imagesTr" || parts[0] == "imagesTs")) parts.erase(parts.begin());
    if (parts.empty() || (parts.back() = name_without_ending(parts.back())).empty())
        throw InputError(fmt::format("{} lists {} as an image, which is no file's name",
                                     description_file(folder).string(), json(listed).dump()));
    return fmt::format("{}", fmt::join(parts, "_"));
}

std::string listed_image(const json& entry, const path& folder) {
    const json image = entry.is_object() ? entry.value("image", json()) : entry;
    if (!image.is_string() || image.get<std::string>().empty())
        throw InputError(fmt::format("{} lists a case without an \"image\"", description_file(folder).string()));
    return image.get<std::string>();
}

/// Nothing where there is none.
std::optional<path> listed_label(const json& entry, const path& folder) {
    const json label = entry.is_object() ? entry.value("label", json()) : json();
    if (label.is_null()) return std::nullopt;
    if (!label.is_string() || label.get<std::string>().empty())
        throw InputError(fmt::format("{} gives {} the \"label\" {}: a file's name was expected",
                                     description_file(folder).string(), listed_image(entry, folder), label.dump()));
    return (folder / label.get<std::string>()).lexically_normal();
}

/// The file itself, by whatever links it is reached.
path file_behind(const path& file) {
    std::error_code error;
    path behind = std::filesystem::weakly_canonical(file, error);
    return error ? std::filesystem::absolute(file).lexically_normal() : behind;
}

std::optional<path> file_behind(const std::optional<path>& file) {
    return file ? std::optional(file_behind(*file)) : std::nullopt;
}

std::vector<path> files_behind(const std::vector<path>& files) {
    std::vector<path> behind;
    for (const path& file : files) behind.push_back(file_behind(file));
    return behind;
}

/// Notes labels that several cases share.
void note_shared_labels(const std::vector<Case>& cases, std::vector<std::string>& notes) {
    std::map<path, std::vector<std::string>> cases_of;
    for (const Case& scan : cases)
        if (scan.label) cases_of[file_behind(*scan.label)].push_back(scan.name);
    for (const auto& [label, names] : cases_of)
        if (names.size() > 1)
            notes.push_back(fmt::format("the label {} is that of {}: {}", label.string(), counted(names.size(), "case"),
                                        some_names(names)));
}

}  // namespace

bool has_channel_files(const path& images, const std::string& ending) {
    const std::vector<std::string> names = files_in(images);
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return !is_hidden(name) && channel_file(name, ending).has_value();
    });
}

CaseListing list_case_folder(const CaseFolder& folder) {
    CaseListing listing;
    std::map<std::string, std::set<std::int64_t>> cases;
    std::vector<std::string> hidden, others, beyond;
    for (const std::string& name : files_in(folder.images)) {
        const auto file = channel_file(name, folder.ending);
        if (is_hidden(name))
            hidden.push_back(name);
        else if (!file && is_data_of_header(folder.images / name))
            continue;
        else if (!file)
            others.push_back(name);
        else if (cases[file->scan].insert(file->channel); file->channel >= std::ssize(folder.channels))
            beyond.push_back(name);
        if (file && !is_hidden(name)) require_utf8(folder.images / name);
    }
    const Labels labels = find_labels(folder, cases);
    for (const auto& [name, found] : cases) {
        Case& scan = listing.cases.emplace_back();
        scan.name = name;
        for (std::int64_t channel = 0; channel < std::ssize(folder.channels); ++channel) {
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
                                    counted(beyond.size(), "file") + " (" + some_names(beyond) + ")",
                                    where + (beyond.size() == 1 ? " is" : " are"),
                                    counted(folder.channels.size(), "channel"), fmt::join(folder.channels, ", ")));
    if (!others.empty())
        notes.push_back(fmt::format("{} holds {} that {} not named CASE_0000{}: {}", where,
                                    counted(others.size(), "file"), others.size() == 1 ? "is" : "are", folder.ending,
                                    some_names(others)));
    if (!hidden.empty())
        notes.push_back(
            fmt::format("{} passed over in {}: {}", counted(hidden.size(), "hidden file"), where, some_names(hidden)));
    compare_labels(folder, listing.cases, labels, notes);
    return listing;
}

bool has_listed_files(const json& entries, const path& folder) {
    return std::any_of(entries.begin(), entries.end(), [&](const json& entry) {
        return std::filesystem::exists(folder / listed_image(entry, folder));
    });
}

CaseListing list_entries(const json& entries, const path& folder, bool to_train) {
    CaseListing listing;
    std::map<path, std::optional<path>> label_of;
    std::vector<std::string> twice, missing;
    for (const json& entry : entries) {
        Case scan;
        const std::string listed = listed_image(entry, folder);
        const path image = (folder / listed).lexically_normal();
        require_utf8(image);
        scan.name = case_name(listed, folder);
        scan.images = {image};
        scan.label = listed_label(entry, folder);
        if (const auto [known, fresh] = label_of.emplace(file_behind(image), file_behind(scan.label)); !fresh) {
            if (known->second != file_behind(scan.label))
                throw InputError(fmt::format("{} lists the image {} twice, with different labels",
                                             description_file(folder).string(), image.string()));
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
                                         description_file(folder).string(), absent->string()));
        missing.push_back(absent->lexically_relative(folder).string());
        scan.label.reset();
        if (absent != files.begin()) listing.cases.push_back(std::move(scan));
    }
    std::sort(listing.cases.begin(), listing.cases.end(), by_name);
    note_unlabelled(listing.cases, to_train ? R"("training" of dataset.json)" : R"("test" of dataset.json)", to_train,
                    listing.notes);
    if (!twice.empty())
        listing.notes.push_back(fmt::format("dataset.json lists {} more than once ({}): each counts once",
                                            counted(twice.size(), "case"), some_names(twice)));
    if (!missing.empty())
        listing.notes.push_back(fmt::format("dataset.json lists {} under \"test\" that {} not there ({}): passed over",
                                            counted(missing.size(), "file"), missing.size() == 1 ? "is" : "are",
                                            some_names(missing)));
    return listing;
}

void separate_names(std::vector<Case>& cases, std::vector<Case>& test_cases, std::vector<std::string>& notes) {
    std::map<std::vector<path>, std::string> to_train;  // files behind the images, and the case's name
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
        const auto [known, fresh] = to_train.emplace(files_behind(scan.images), scan.name);
        if (!fresh)
            throw InputError(
                fmt::format("the cases {} and {} are one scan, {}: remove one, or it would be trained and "
                            "tested on",
                            known->second, scan.name, known->first.front().string()));
        take(scan);
    }
    note_shared_labels(cases, notes);
    std::vector<std::string> both, renamed;
    std::erase_if(test_cases, [&](const Case& scan) {
        if (!to_train.contains(files_behind(scan.images))) return false;
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
                                    counted(both.size(), "scan"), some_names(both)));
    if (!renamed.empty())
        notes.push_back(fmt::format("{} to test {} the name of one to train ({}): {}", counted(renamed.size(), "case"),
                                    renamed.size() == 1 ? "has" : "have", some_names(renamed),
                                    renamed.size() == 1
                                        ? "it is called FOLDER_CASE here, as in imagesTs_" + renamed[0]
                                        : "they are called FOLDER_CASE here, as in imagesTs_" + renamed[0]));
}

}  // namespace iwseg
