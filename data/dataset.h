#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/lesion_labels.h"

namespace iwseg {

/// Files of a dataset's folder: what describes it, the splits that iwseg prepare writes, and nnU-Net's folds.
inline std::filesystem::path description_file(const std::filesystem::path& dataset) {
    return dataset / "dataset.json";
}
inline std::filesystem::path splits_file(const std::filesystem::path& dataset) {
    return dataset / "splits.json";
}
inline std::filesystem::path folds_file(const std::filesystem::path& dataset) {
    return dataset / "splits_final.json";
}

/// One scan of a dataset. images: a file a channel, or one file whose fourth axis holds the channels.
struct Case {
    std::string name;
    std::vector<std::filesystem::path> images;
    std::optional<std::filesystem::path> label;
};

std::vector<std::string> case_names(const std::vector<Case>& cases);

/// A folder in the layout of nnU-Net v2 (imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, imagesTs) or of the Medical
/// Segmentation Decathlon ("training" in dataset.json). Cases are sorted by name. No two have the same name, nor names
/// that differ by upper and lower case only, and no scan is in both lists: data/case_listing.h has the rules.
struct Dataset {
    std::filesystem::path folder;
    std::string name;
    std::vector<std::string> channels;  ///< names, in the order of the channels' numbers
    std::vector<Case> cases;            ///< imagesTr; label is absent where labelsTr has none
    std::vector<Case> test_cases;       ///< imagesTs; label from labelsTs where it exists
    /// "lesion_counts" in dataset.json, by case: how often patches are drawn from each, beside the others. May be
    /// empty.
    std::map<std::string, std::int64_t> lesion_counts{};
    bool channels_by_position = false;  ///< files that were given one by one, in the order meant
    LabelNames label_names{};           ///< "labels" in dataset.json
    /// What was left out, merged or taken otherwise than written, in sentences for whoever works with the dataset.
    std::vector<std::string> notes{};

    /// Looks in cases, then in test_cases. Throws InputError naming the nearest case.
    const Case& find(const std::string& case_name) const;
};

/// No such case: names the nearest. where: what names it.
InputError unknown_case(const std::string& name, const Dataset& dataset, const std::string& where);

/// Reads dataset.json and lists the files; opens no scan. Throws InputError where dataset.json is missing or malformed,
/// there are no cases, a case lacks a channel or a listed file, or files are surely named otherwise than meant.
Dataset open_dataset(const std::filesystem::path& folder);

/// Names of cases. Those of test and validation may be the same; none of either is in train.
struct Split {
    std::vector<std::string> train, validation, test;

    bool operator==(const Split&) const = default;
};

/// A split that the dataset names: splits.json is {"holdout": {"train": [...], "validation": [...], "test": [...]},
/// ...}, as iwseg prepare writes it. Throws InputError where the file is missing or malformed, or has no split of that
/// name (naming the nearest).
Split named_split(const Dataset& dataset, const std::string& name);

/// The configured split where there is one, else that fold of splits_final.json (its "val" is both validation and
/// test), else 70/10/20 drawn by seed, with at least one case to train and one to test. Only labelled cases are drawn.
/// A case named more than once in a part counts once; notes, where wanted, receives a sentence about it. Throws
/// InputError where a case is unknown (naming the nearest), both trained and tested on, or there is only one.
Split make_split(const Dataset& dataset, const std::optional<Split>& configured, std::uint64_t seed,
                 std::vector<std::string>* notes = nullptr, int fold = 0);

/// How many folds the dataset's splits_final.json lists. Throws InputError where it is missing or malformed.
int count_folds(const std::filesystem::path& dataset);

}  // namespace iwseg
