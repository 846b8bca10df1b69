#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace iwseg {

/// The run folder of one fold, named as nnU-Net names it: OUT/fold_K.
std::filesystem::path fold_folder(const std::filesystem::path& out, int fold);

/// The folds that `--fold` names, a number or "all", of a dataset with splits_final.json. Throws InputError where it is
/// neither, the dataset has no such file or no such fold.
std::vector<int> chosen_folds(const std::string& text, const std::filesystem::path& dataset);

/// The run folders below OUT of the folds that `--fold` names, "all" being those that are there, by number; fold_01 is
/// none of them. Throws InputError where there is none.
std::vector<std::filesystem::path> fold_runs(const std::string& text, const std::filesystem::path& out);

/// What `--fold` is to work on.
struct FoldRequest {
    std::string fold;  ///< a number or "all"
    std::filesystem::path dataset, out;
    std::optional<std::filesystem::path> config = {};
    std::vector<std::string> settings = {};
};

/// For each chosen fold: says which it is and calls train with its folder and the settings, fold = K among them. Throws
/// InputError before the first where configuration or settings name a split, which would be that of every fold.
void for_each_fold(const FoldRequest& request,
                   const std::function<void(const std::filesystem::path&, const std::vector<std::string>&)>& train);

/// Writes OUT/records.json: those of all folds together, in which each case was evaluated by a network that had not
/// seen it; of several classes OUT/classes/CLASS/records.json, class by class. Throws InputError where two folds hold
/// the same case.
void pool_records(const std::filesystem::path& out, const std::vector<std::filesystem::path>& runs);

}  // namespace iwseg
