#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/folder.h"
#include "base/nearest_name.h"
#include "base/random.h"
#include "base/some_names.h"
#include "data/dataset.h"
#include "data/json_file.h"

namespace iwseg {
namespace {

using nlohmann::json;
using std::filesystem::path;

json read_folds(const path& file) {
    json folds = read_json(file);
    if (!folds.is_array() || folds.empty())
        throw InputError(file.string() + " must be a list of folds, each {\"train\": [...], \"val\": [...]}");
    return folds;
}

Split read_fold(const path& file, int number) {
    const json folds = read_folds(file);
    if (number >= static_cast<int>(folds.size()))
        throw InputError(fmt::format("fold = {} is not in {}, which has {} folds, from 0 to {}", number, file.string(),
                                     folds.size(), folds.size() - 1));
    try {
        const json& fold = folds.at(number);
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

/// Each case once, where it was named first.
void name_once(Split& split, const std::string& source, std::vector<std::string>* notes) {
    using Part = std::pair<const char*, std::vector<std::string>*>;
    for (const auto& [part, list] :
         {Part("train", &split.train), Part("validation", &split.validation), Part("test", &split.test)}) {
        std::set<std::string> seen;
        std::vector<std::string> twice;
        std::erase_if(*list, [&](const std::string& name) {
            if (seen.insert(name).second) return false;
            twice.push_back(name);
            return true;
        });
        if (!twice.empty() && notes)
            notes->push_back(
                fmt::format("{} names {} more than once in {}: each counts once", source, some_names(twice), part));
    }
}

void require_usable(const Split& split, const Dataset& dataset, const std::string& source) {
    std::map<std::string, const Case*> cases;
    for (const Case& scan : dataset.cases) cases[scan.name] = &scan;
    for (const auto* part : {&split.train, &split.validation})
        for (const std::string& name : *part) {
            const auto found = cases.find(name);
            if (found == cases.end()) throw unknown_case(name, dataset, source);
            if (!found->second->label)
                throw InputError(fmt::format("{} puts case {} in {}, but it has no label file", source, name,
                                             part == &split.train ? "train" : "validation"));
        }
    for (const std::string& name : split.test) static_cast<void>(dataset.find(name));
    if (split.train.empty()) throw InputError(source + " has no case to train on");
    const std::set<std::string> train(split.train.begin(), split.train.end());
    for (const auto* part : {&split.validation, &split.test})
        for (const std::string& name : *part)
            if (train.contains(name))
                throw InputError(fmt::format("{} puts case {} both in train and in {}", source, name,
                                             part == &split.test ? "test" : "validation"));
}

Split checked(Split split, const Dataset& dataset, const std::string& source, std::vector<std::string>* notes) {
    name_once(split, source, notes);
    require_usable(split, dataset, source);
    return split;
}

}  // namespace

Split named_split(const Dataset& dataset, const std::string& name) {
    const path file = splits_file(dataset.folder);
    if (!std::filesystem::exists(file))
        throw InputError(fmt::format("split = \"{}\" names a split, but {} is missing, which iwseg prepare writes",
                                     name, file.string()));
    const json splits = read_json(file);
    const InputError wrong(
        fmt::format("{} must hold splits by name, each {{\"train\": [...], \"validation\": [...], "
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
        return {split.at("train").get<std::vector<std::string>>(),
                split.at("validation").get<std::vector<std::string>>(),
                split.at("test").get<std::vector<std::string>>()};
    } catch (const json::exception&) {
        throw wrong;
    }
}

int count_folds(const path& dataset) {
    require_folder(dataset, "dataset folder");
    const path file = folds_file(dataset);
    if (!std::filesystem::exists(file))
        throw InputError(
            fmt::format("{} is missing: folds are listed in it, as nnU-Net writes it, "
                        "[{{\"train\": [...], \"val\": [...]}}, ...]",
                        file.string()));
    return static_cast<int>(read_folds(file).size());
}

Split make_split(const Dataset& dataset, const std::optional<Split>& configured, std::uint64_t seed,
                 std::vector<std::string>* notes, int fold) {
    const path file = folds_file(dataset.folder);
    if (configured) return checked(*configured, dataset, "the configured split of " + dataset.folder.string(), notes);
    if (std::filesystem::exists(file)) return checked(read_fold(file, fold), dataset, file.string(), notes);
    if (fold > 0) throw InputError(fmt::format("fold = {} needs {}, which is missing", fold, file.string()));
    std::vector<std::string> labelled;
    for (const Case& scan : dataset.cases)
        if (scan.label) labelled.push_back(scan.name);
    if (labelled.size() < 2)
        throw InputError(fmt::format("{} has {} labelled case{}; at least two are needed, one to train and one to test",
                                     dataset.folder.string(), labelled.size(), labelled.size() == 1 ? "" : "s"));
    return checked(draw_split(std::move(labelled), seed), dataset, "the split drawn from " + dataset.folder.string(),
                   notes);
}

}  // namespace iwseg
