#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace iwseg {

/// Cases, sorted by name, and in sentences what was passed over to find them.
struct CaseListing {
    std::vector<Case> cases;
    std::vector<std::string> notes;
};

/// A folder with files CASE_0000.nii.gz, CASE_0001.nii.gz, …, and the one of its labels, CASE.nii.gz.
struct CaseFolder {
    std::filesystem::path images, labels;  ///< either may be missing
    std::string ending;                    ///< ".nii.gz"
    std::vector<std::string> channels;     ///< names, by number
    bool to_train = true;                  ///< cases are expected to have labels
};

/// Throws InputError where a case lacks a channel, the name of its file is not UTF-8, or, to train, cases lack labels
/// while labels lack cases: then files are named otherwise than meant.
CaseListing list_case_folder(const CaseFolder& folder);

/// Whether the folder holds a file of that form.
bool has_channel_files(const std::filesystem::path& images, const std::string& ending);

/// Cases as the Medical Segmentation Decathlon lists them: {"image": "./imagesTr/a.nii.gz", "label": …}, or an image
/// alone. A case's name is its image's path from the dataset's folder, less a leading imagesTr or imagesTs and the
/// ending, joined by "_": "./p1/flair.nii.gz" is p1_flair. A case listed twice counts once. to_train: files that are
/// missing are refused, otherwise the case (or its label) is left out. Cases without a label are noted. Throws
/// InputError where an entry names no image, a "label" is no file's name, or one image has two labels.
CaseListing list_entries(const nlohmann::json& entries, const std::filesystem::path& folder, bool to_train);

/// Whether any image of the list is there.
bool has_listed_files(const nlohmann::json& entries, const std::filesystem::path& folder);

/// Makes names one dataset's: cases to train whose files are the same, links followed, are refused; a label that
/// several share is noted; a scan that is listed to train and to test is only the former; a scan to test that has the
/// name of one to train is called FOLDER_NAME. Throws InputError where two names stay the same, or differ by upper and
/// lower case only, so that results would replace each other in some file systems.
void separate_names(std::vector<Case>& cases, std::vector<Case>& test_cases, std::vector<std::string>& notes);

}  // namespace iwseg
