#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/folder.h"
#include "base/nearest_name.h"
#include "data/case_listing.h"
#include "data/json_file.h"
#include "data/volume/formats.h"

namespace iwseg {
namespace {

using nlohmann::json;
using std::filesystem::path;

/// Names by number: {"0": "FLAIR", "1": "T1"}, or a list.
std::vector<std::string> read_channels(const json& description, const path& file) {
    const char* key = description.contains("channel_names") ? "channel_names" : "modality";
    const InputError wrong(
        fmt::format("{} must name its channels: \"channel_names\": {{\"0\": \"CT\"}}", file.string()));
    if (!description.contains(key)) throw wrong;
    const json& names = description[key];
    std::vector<std::string> channels;
    for (std::size_t number = 0; number < names.size(); ++number) {
        const std::string digit = std::to_string(number);
        if (!names.is_array() && !(names.is_object() && names.contains(digit))) throw wrong;
        const json& name = names.is_array() ? names[number] : names[digit];
        if (!name.is_string()) throw wrong;
        channels.push_back(name.get<std::string>());
    }
    if (channels.empty()) throw wrong;
    return channels;
}

/// How many lesions each case counts for, where the file says so.
std::map<std::string, std::int64_t> read_lesion_counts(const json& description, const path& file) {
    std::map<std::string, std::int64_t> counts;
    const json listed = description.contains("lesion_counts") ? description["lesion_counts"] : json::object();
    const auto is_count = [](const json& count) {
        return count.is_number_unsigned() && count.get<std::uint64_t>() <= INT32_MAX;
    };
    if (!listed.is_object() || !std::all_of(listed.begin(), listed.end(), is_count))
        throw InputError(
            fmt::format("{} must give lesion_counts as whole numbers by case: {{\"a\": 2, \"b\": 0}}", file.string()));
    for (const auto& [name, count] : listed.items()) counts[name] = count.get<std::int64_t>();
    return counts;
}

std::string file_ending(const json& description, const path& file) {
    const json ending = description.value("file_ending", json(".nii.gz"));
    const auto is_of = [&](const VolumeFormat& format) {
        return std::count(format.endings.begin(), format.endings.end(), ending) > 0;
    };
    if (std::none_of(volume_formats().begin(), volume_formats().end(), is_of))
        throw InputError(
            fmt::format("{} gives file_ending {}; {} can be read", file.string(), ending.dump(), known_endings()));
    return ending;
}

/// A list of cases; nothing where there is none. Throws where it is no list.
const json* listed_under(const char* key, const json& description, const path& file) {
    const auto found = description.find(key);
    if (found == description.end() || found->is_null()) return nullptr;
    if (found->is_array()) return &*found;
    throw InputError(fmt::format("{} must give \"{}\" as a list of cases, [{{\"image\": ..., \"label\": ...}}, ...]",
                                 file.string(), key));
}

/// The list of cases that dataset.json holds, where it is what tells the cases: nnU-Net v2 has none, and v1's names
/// files without their channel's number, which are not there.
const json* list_of_cases(const json& description, const path& file, const std::string& ending,
                          std::vector<std::string>& notes) {
    const path folder = file.parent_path();
    const json* const found = listed_under("training", description, file);
    if (!found || found->empty()) return nullptr;
    const bool v2 = description.contains("channel_names") || description.contains("file_ending");
    if (!has_channel_files(folder / "imagesTr", ending) || (!v2 && has_listed_files(*found, folder))) return found;
    notes.push_back(
        fmt::format("the list \"training\" in dataset.json ({} cases) is not read: {} holds files CASE_0000{}, "
                    "which tell the cases, as nnU-Net has it",
                    found->size(), (folder / "imagesTr").string(), ending));
    return nullptr;
}

void take(CaseListing listing, std::vector<Case>& cases, std::vector<std::string>& notes) {
    cases = std::move(listing.cases);
    notes.insert(notes.end(), listing.notes.begin(), listing.notes.end());
}

void list_cases(Dataset& dataset, const json& description, const path& file) {
    const path& folder = dataset.folder;
    const std::string ending = file_ending(description, file);
    if (const json* list = list_of_cases(description, file, ending, dataset.notes)) {
        take(list_entries(*list, folder, true), dataset.cases, dataset.notes);
        if (const json* tests = listed_under("test", description, file))
            take(list_entries(*tests, folder, false), dataset.test_cases, dataset.notes);
    } else {
        take(list_case_folder({folder / "imagesTr", folder / "labelsTr", ending, dataset.channels, true}),
             dataset.cases, dataset.notes);
        take(list_case_folder({folder / "imagesTs", folder / "labelsTs", ending, dataset.channels, false}),
             dataset.test_cases, dataset.notes);
    }
    separate_names(dataset.cases, dataset.test_cases, dataset.notes);
}

/// What is not as dataset.json counts it.
void compare_count(Dataset& dataset, const json& description) {
    const json count = description.value("numTraining", json());
    if (count.is_number_integer() && count != dataset.cases.size())
        dataset.notes.push_back(fmt::format("dataset.json says numTraining {}, but there are {} cases", count.dump(),
                                            dataset.cases.size()));
}

}  // namespace

InputError unknown_case(const std::string& name, const Dataset& dataset, const std::string& where) {
    std::vector<std::string> known;
    for (const auto* list : {&dataset.cases, &dataset.test_cases})
        for (const Case& scan : *list) known.push_back(scan.name);
    const std::string nearest = nearest_name(name, known);
    return InputError(fmt::format("{} has no case {}{}", where, name,
                                  nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest)));
}

std::vector<std::string> case_names(const std::vector<Case>& cases) {
    std::vector<std::string> names;
    for (const Case& scan : cases) names.push_back(scan.name);
    return names;
}

const Case& Dataset::find(const std::string& case_name) const {
    for (const auto* list : {&cases, &test_cases})
        for (const Case& scan : *list)
            if (scan.name == case_name) return scan;
    throw unknown_case(case_name, *this, folder.string());
}

Dataset open_dataset(const path& folder) {
    require_folder(folder, "dataset folder");
    const path file = description_file(folder);
    const nlohmann::ordered_json in_order = read_ordered_json(file);
    const json description = in_order;
    if (!description.is_object()) throw InputError(file.string() + " must be a JSON object");
    Dataset dataset;
    dataset.folder = folder;
    const json name = description.value("name", json());
    const path plain = folder.has_filename() ? folder : folder.parent_path();
    dataset.name = name.is_string() ? name.get<std::string>() : plain.filename().string();
    dataset.channels = read_channels(description, file);
    dataset.label_names = read_label_names(in_order, file);
    dataset.lesion_counts = read_lesion_counts(description, file);
    list_cases(dataset, description, file);
    if (dataset.cases.empty() && dataset.test_cases.empty())
        throw InputError(fmt::format("{} has no cases: imagesTr/CASE_0000.nii.gz is expected{}", folder.string(),
                                     dataset.notes.empty() ? "" : "; " + dataset.notes.front()));
    compare_count(dataset, description);
    return dataset;
}

}  // namespace iwseg
