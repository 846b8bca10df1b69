#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "data/formats.h"
#include "engine/atomic_file.h"
#include "engine/nearest_name.h"
#include "engine/random.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

using nlohmann::json;
using std::filesystem::path;

json read_json(const path& file) {
    try {
        return json::parse(read_text(file));
    } catch (const json::exception&) {
        throw InputError(file.string() + " is not valid JSON");
    }
}

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

bool by_name(const Case& a, const Case& b) {
    return a.name < b.name;
}

/// Cases of a folder with files CASE_0000.nii.gz, CASE_0001.nii.gz, …
std::vector<Case> list_cases(const path& images, const path& labels, const std::string& ending, std::size_t channels) {
    std::vector<Case> cases;
    if (!std::filesystem::is_directory(images)) return cases;
    const std::string first = "_0000" + ending;
    for (const auto& entry : std::filesystem::directory_iterator(images)) {
        const std::string name = entry.path().filename().string();
        if (name.size() <= first.size() || !name.ends_with(first)) continue;
        Case& scan = cases.emplace_back();
        scan.name = name.substr(0, name.size() - first.size());
        for (std::size_t channel = 0; channel < channels; ++channel) {
            const path file = images / fmt::format("{}_{:04}{}", scan.name, channel, ending);
            if (!std::filesystem::exists(file))
                throw InputError(
                    fmt::format("{} is missing: case {} must have {} channels", file.string(), scan.name, channels));
            scan.images.push_back(file);
        }
        const path label = labels / (scan.name + ending);
        if (std::filesystem::exists(label)) scan.label = label;
    }
    std::sort(cases.begin(), cases.end(), by_name);
    return cases;
}

bool is_known_ending(const json& ending) {
    return std::any_of(volume_formats().begin(), volume_formats().end(), [&](const VolumeFormat& format) {
        return std::count(format.endings.begin(), format.endings.end(), ending) > 0;
    });
}

/// Cases as Medical Segmentation Decathlon lists them: {"image": "./imagesTr/a.nii.gz", "label": …}, or a name alone.
std::vector<Case> listed_cases(const json& entries, const path& folder) {
    std::vector<Case> cases;
    for (const json& entry : entries) {
        const json image = entry.is_object() ? entry.value("image", json()) : entry;
        if (!image.is_string())
            throw InputError(fmt::format("{} lists a case without an \"image\"", (folder / "dataset.json").string()));
        Case& scan = cases.emplace_back();
        const path file = (folder / image.get<std::string>()).lexically_normal();
        scan.name = name_without_ending(file);
        scan.images = {file};
        if (entry.is_object() && entry.contains("label") && entry["label"].is_string())
            scan.label = (folder / entry["label"].get<std::string>()).lexically_normal();
    }
    std::sort(cases.begin(), cases.end(), by_name);
    return cases;
}

std::vector<std::string> names_of(const std::vector<Case>& cases) {
    std::vector<std::string> names;
    for (const Case& scan : cases) names.push_back(scan.name);
    return names;
}

InputError unknown_case(const std::string& name, const Dataset& dataset, const std::string& where) {
    std::vector<std::string> known = names_of(dataset.cases);
    for (const Case& scan : dataset.test_cases) known.push_back(scan.name);
    const std::string nearest = nearest_name(name, known);
    return InputError(fmt::format("{} has no case {}{}", where, name,
                                  nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest)));
}

Split read_final_split(const path& file) {
    const json folds = read_json(file);
    try {
        const json& fold = folds.at(0);
        const auto held_out = fold.at("val").get<std::vector<std::string>>();
        return {fold.at("train").get<std::vector<std::string>>(), held_out, held_out};
    } catch (const json::exception&) {
        throw InputError(file.string() + " must be a list of folds, each {\"train\": [...], \"val\": [...]}");
    }
}

Split draw_split(std::vector<std::string> names, std::uint64_t seed) {
    Random random(seed, 0, 0, Purpose::split);
    for (std::size_t last = names.size() - 1; last > 0; --last) std::swap(names[last], names[random.below(last + 1)]);
    const std::size_t test = std::max<std::size_t>(1, (names.size() * 2 + 5) / 10);
    const std::size_t validation = std::min((names.size() + 5) / 10, names.size() - test - 1);
    Split split;
    split.test.assign(names.begin(), names.begin() + test);
    split.validation.assign(names.begin() + test, names.begin() + test + validation);
    split.train.assign(names.begin() + test + validation, names.end());
    for (auto* part : {&split.train, &split.validation, &split.test}) std::sort(part->begin(), part->end());
    return split;
}

/// How many lesions each case counts for, where the file says so.
std::map<std::string, std::int64_t> read_lesion_counts(const json& description, const path& file) {
    std::map<std::string, std::int64_t> counts;
    const json listed = description.contains("lesion_counts") ? description["lesion_counts"] : json::object();
    const auto is_count = [](const json& count) {
        return count.is_number_unsigned() && count.get<std::uint64_t>() <= INT32_MAX;
    };
    if (!listed.is_object() || !std::all_of(listed.begin(), listed.end(), is_count))
        throw InputError(fmt::format("{} must give lesion_counts as whole numbers by case: {{\"a\": 2, \"b\": 0}}",
                                     file.string()));
    for (const auto& [name, count] : listed.items()) counts[name] = count.get<std::int64_t>();
    return counts;
}

void require_usable(const Split& split, const Dataset& dataset, const std::string& source) {
    const std::vector<std::string> names = names_of(dataset.cases);
    for (const auto* part : {&split.train, &split.validation})
        for (const std::string& name : *part)
            if (!std::binary_search(names.begin(), names.end(), name)) throw unknown_case(name, dataset, source);
    for (const std::string& name : split.test) static_cast<void>(dataset.find(name));
    if (split.train.empty()) throw InputError(source + " has no case to train on");
    const std::set<std::string> train(split.train.begin(), split.train.end());
    for (const auto* part : {&split.validation, &split.test})
        for (const std::string& name : *part)
            if (train.contains(name))
                throw InputError(fmt::format("{} puts case {} both in train and in {}", source, name,
                                             part == &split.test ? "test" : "validation"));
}

}  // namespace

const Case& Dataset::find(const std::string& case_name) const {
    for (const auto* list : {&cases, &test_cases})
        for (const Case& scan : *list)
            if (scan.name == case_name) return scan;
    throw unknown_case(case_name, *this, folder.string());
}

Dataset open_dataset(const path& folder) {
    if (!std::filesystem::is_directory(folder)) throw InputError(folder.string() + " is not a dataset's folder");
    const path file = folder / "dataset.json";
    const json description = read_json(file);
    if (!description.is_object()) throw InputError(file.string() + " must be a JSON object");
    Dataset dataset;
    dataset.folder = folder;
    const json name = description.value("name", json());
    const path plain = folder.has_filename() ? folder : folder.parent_path();
    dataset.name = name.is_string() ? name.get<std::string>() : plain.filename().string();
    dataset.channels = read_channels(description, file);
    dataset.lesion_counts = read_lesion_counts(description, file);
    if (description.contains("training") && description["training"].is_array()) {
        dataset.cases = listed_cases(description["training"], folder);
        if (description.contains("test")) dataset.test_cases = listed_cases(description["test"], folder);
    } else {
        const json ending = description.value("file_ending", json(".nii.gz"));
        if (!is_known_ending(ending))
            throw InputError(fmt::format("{} gives file_ending {}; {} can be read", file.string(), ending.dump(),
                                         known_endings()));
        const std::size_t channels = dataset.channels.size();
        dataset.cases = list_cases(folder / "imagesTr", folder / "labelsTr", ending, channels);
        dataset.test_cases = list_cases(folder / "imagesTs", folder / "labelsTs", ending, channels);
    }
    if (dataset.cases.empty() && dataset.test_cases.empty())
        throw InputError(fmt::format("{} has no cases: imagesTr/CASE_0000.nii.gz is expected", folder.string()));
    return dataset;
}

Split named_split(const Dataset& dataset, const std::string& name) {
    const path file = dataset.folder / "splits.json";
    if (!std::filesystem::exists(file))
        throw InputError(fmt::format("split = \"{}\" names a split, but {} is missing, which iwseg prepare writes", name,
                                     file.string()));
    const json splits = read_json(file);
    const InputError wrong(fmt::format("{} must hold splits by name, each {{\"train\": [...], \"validation\": [...], "
                                       "\"test\": [...]}}",
                                       file.string()));
    if (!splits.is_object()) throw wrong;
    if (!splits.contains(name)) {
        std::vector<std::string> known;
        for (const auto& [key, value] : splits.items()) known.push_back(key);
        const std::string nearest = nearest_name(name, known);
        throw InputError(fmt::format("{} has no split {}{}", file.string(), name,
                                     nearest.empty() ? fmt::format("; it has {}", fmt::join(known, ", "))
                                                     : fmt::format("; did you mean {}?", nearest)));
    }
    try {
        const json& split = splits[name];
        return {split.at("train").get<std::vector<std::string>>(), split.at("validation").get<std::vector<std::string>>(),
                split.at("test").get<std::vector<std::string>>()};
    } catch (const json::exception&) {
        throw wrong;
    }
}

Split make_split(const Dataset& dataset, const std::optional<Split>& configured, std::uint64_t seed) {
    const path file = dataset.folder / "splits_final.json";
    if (configured) {
        require_usable(*configured, dataset, "the configured split of " + dataset.folder.string());
        return *configured;
    }
    if (std::filesystem::exists(file)) {
        const Split split = read_final_split(file);
        require_usable(split, dataset, file.string());
        return split;
    }
    std::vector<std::string> labelled;
    for (const Case& scan : dataset.cases)
        if (scan.label) labelled.push_back(scan.name);
    if (labelled.size() < 2)
        throw InputError(fmt::format("{} has {} labelled case{}; at least two are needed, one to train and one to test",
                                     dataset.folder.string(), labelled.size(), labelled.size() == 1 ? "" : "s"));
    return draw_split(std::move(labelled), seed);
}

}  // namespace iwseg
