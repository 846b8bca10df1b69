#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/lesion_labels.h"

namespace iwseg {

/// A case with the file of its labels.
struct ReferenceCase {
    std::string name;
    std::filesystem::path label;
};

/// What predictions are compared with.
struct Reference {
    std::filesystem::path folder;
    std::vector<ReferenceCase> cases;         ///< those with labels, by name
    std::vector<std::string> without_labels;  ///< names, sorted
    LesionLabels labels;
    std::vector<std::string> notes;  ///< on how the dataset was read, in sentences
    std::optional<Dataset> dataset;  ///< none for a folder of masks
    std::string of_class{};          ///< whose lesions `labels` says; empty: lesions are of no class
};

/// The labelled cases of a dataset. lesion_labels: values that are lesion; empty: as dataset.json says. Throws as
/// open_dataset.
Reference dataset_reference(const std::filesystem::path& dataset, const std::vector<int>& lesion_labels);

/// A folder of masks CASE.nii.gz, or of another ending that can be read. lesion_labels: empty: every value above 0.
/// Throws InputError where it cannot be listed or holds no mask, or two of one name.
Reference folder_reference(const std::filesystem::path& folder, const std::vector<int>& lesion_labels);

/// The same reference, of which that class alone is lesion.
Reference reference_of_class(const Reference& reference, const LabelClass& of_class);

/// The cases that every folder predicts, with what is left out in sentences.
struct CasesToEvaluate {
    std::vector<ReferenceCase> cases;  ///< by name
    std::vector<std::string> notes;
};

/// wanted: names; empty: all that have a prediction in each folder. Throws InputError where a wanted case is unknown
/// (naming the nearest), has no labels or lacks a prediction, or none is left.
CasesToEvaluate cases_to_evaluate(const Reference& reference, const std::vector<std::filesystem::path>& folders,
                                  const std::vector<std::string>& wanted);

}  // namespace iwseg
