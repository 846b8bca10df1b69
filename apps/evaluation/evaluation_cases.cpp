#include "apps/evaluation/evaluation_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "apps/prediction/predicted_scan.h"
#include "base/error.h"
#include "base/nearest_name.h"
#include "base/some_names.h"
#include "data/volume/formats.h"
#include "evaluation/scan_sets.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

void sort_by_name(std::vector<ReferenceCase>& cases) {
    std::sort(cases.begin(), cases.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

const ReferenceCase& find_case(const Reference& reference, const std::string& name) {
    std::vector<std::string> known;
    for (const ReferenceCase& one : reference.cases) {
        if (one.name == name) return one;
        known.push_back(one.name);
    }
    if (std::count(reference.without_labels.begin(), reference.without_labels.end(), name))
        throw InputError("case " + name + " has no label file in " + reference.folder.string());
    const std::string nearest = nearest_name(name, known);
    throw InputError(fmt::format("there is no case '{}' in {}{}", name, reference.folder.string(),
                                 nearest.empty() ? "" : "; did you mean " + nearest + "?"));
}

std::string names_for_few(const std::vector<std::string>& names) {
    return fmt::format("{} case{} ({})", names.size(), names.size() == 1 ? "" : "s", some_names(names));
}

/// The labelled cases that every folder predicts; says which are missing where.
CasesToEvaluate predicted_everywhere(const Reference& reference, const std::vector<fs::path>& folders) {
    CasesToEvaluate chosen;
    std::vector<std::vector<std::string>> missing(folders.size());
    for (const ReferenceCase& one : reference.cases) {
        bool everywhere = true;
        for (std::size_t f = 0; f < folders.size(); ++f)
            if (!find_prediction(folders[f], one.name, reference.of_class)) {
                missing[f].push_back(one.name);
                everywhere = false;
            }
        if (everywhere) chosen.cases.push_back(one);
    }
    chosen.notes.push_back(fmt::format("Evaluated {} of {} cases with labels in {}.", chosen.cases.size(),
                                       reference.cases.size(), reference.folder.string()));
    for (std::size_t f = 0; f < folders.size(); ++f)
        if (!missing[f].empty())
            chosen.notes.push_back(
                fmt::format("No prediction in {} for {}.", folders[f].string(), names_for_few(missing[f])));
    return chosen;
}

std::vector<std::string> without_case(const Reference& reference, const fs::path& folder) {
    std::set<std::string> known;
    for (const ReferenceCase& one : reference.cases) known.insert(one.name);
    std::vector<std::string> names;
    for (const std::string& name : predicted_names(folder, reference.of_class))
        if (!known.contains(name)) names.push_back(name);
    return names;
}

void require_some(const CasesToEvaluate& chosen, const Reference& reference, const std::vector<fs::path>& folders) {
    if (!chosen.cases.empty()) return;
    if (reference.cases.empty()) throw InputError(reference.folder.string() + " has no case with a label file");
    const std::string& name = reference.cases.front().name;
    if (folders.size() == 1)
        throw InputError(fmt::format("{} holds no prediction of a case with labels in {}; expected files such as {}",
                                     folders.front().string(), reference.folder.string(),
                                     expected_predictions(name, reference.of_class)));
    throw InputError(fmt::format("no case is predicted in all of the {} folders; expected files such as {} in each",
                                 folders.size(), expected_predictions(name, reference.of_class)));
}

}  // namespace

Reference reference_of_class(const Reference& reference, const LabelClass& of_class) {
    Reference own = reference;
    const LabelNames names = reference.dataset ? reference.dataset->label_names : LabelNames{};
    own.labels = LesionLabels(names, {of_class.values.begin(), of_class.values.end()});
    own.of_class = of_class.name;
    return own;
}

Reference dataset_reference(const fs::path& folder, const std::vector<int>& lesion_labels) {
    const Dataset dataset = open_dataset(folder);
    Reference reference{folder, {}, {}, LesionLabels(dataset.label_names, lesion_labels), dataset.notes, dataset};
    if (const std::string said = reference.labels.sentence(); !said.empty()) reference.notes.push_back(said);
    for (const auto* list : {&dataset.cases, &dataset.test_cases})
        for (const Case& scan : *list) {
            if (scan.label)
                reference.cases.push_back({scan.name, *scan.label});
            else
                reference.without_labels.push_back(scan.name);
        }
    sort_by_name(reference.cases);
    std::sort(reference.without_labels.begin(), reference.without_labels.end());
    return reference;
}

Reference folder_reference(const fs::path& folder, const std::vector<int>& lesion_labels) {
    Reference reference{folder, {}, {}, LesionLabels({}, lesion_labels), {}, {}};
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
        const fs::path& file = entry.path();
        if (!file.filename().string().starts_with(".") && find_format(file))
            reference.cases.push_back({name_without_ending(file), file});
    }
    if (error) throw InputError("the folder " + folder.string() + " cannot be listed: " + error.message());
    if (reference.cases.empty())
        throw InputError(fmt::format("the folder {} holds no mask; expected CASE with the ending {}", folder.string(),
                                     known_endings()));
    sort_by_name(reference.cases);
    for (std::size_t i = 1; i < reference.cases.size(); ++i)
        if (reference.cases[i].name == reference.cases[i - 1].name)
            throw InputError(fmt::format("{} and {} are of one case; expected one file a case",
                                         reference.cases[i - 1].label.string(), reference.cases[i].label.string()));
    return reference;
}

CasesToEvaluate cases_to_evaluate(const Reference& reference, const std::vector<fs::path>& folders,
                                  const std::vector<std::string>& wanted) {
    CasesToEvaluate chosen;
    if (wanted.empty()) {
        chosen = predicted_everywhere(reference, folders);
    } else {
        for (const std::string& name : std::set<std::string>(wanted.begin(), wanted.end())) {
            chosen.cases.push_back(find_case(reference, name));
            for (const fs::path& folder : folders)
                if (!find_prediction(folder, name, reference.of_class))
                    throw InputError(fmt::format("{} holds no prediction of case {}; expected {}", folder.string(),
                                                 name, expected_predictions(name, reference.of_class)));
        }
        chosen.notes.push_back(fmt::format("Evaluated the {} case{} asked for, of {} with labels in {}.",
                                           chosen.cases.size(), chosen.cases.size() == 1 ? "" : "s",
                                           reference.cases.size(), reference.folder.string()));
    }
    require_some(chosen, reference, folders);
    for (const fs::path& folder : folders)
        if (const auto names = without_case(reference, folder); !names.empty())
            chosen.notes.push_back(
                fmt::format("Left out of {}, as no labels are there: {}.", folder.string(), names_for_few(names)));
    return chosen;
}

}  // namespace iwseg
