#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "studies/case_record.h"
#include "studies/study.h"

namespace iwseg {

/// What preparing a study came to.
struct PreparationResult {
    std::vector<CaseRecord> cases;                ///< all that the dataset holds, by name
    std::map<std::string, std::string> left_out;  ///< scans that could not be prepared, with the reason
    std::vector<std::string> excluded;            ///< scans that the user left out
};

/// Lesions (components of the targets) by volume-equivalent diameter (6V/π)^(1/3): counts[b] of those from bounds[b -
/// 1] up to, but not with, bounds[b].
struct SizeHistogram {
    std::vector<double> bounds;
    std::vector<std::int64_t> in_mm, in_voxels;  ///< one more than bounds
};
SizeHistogram size_histogram(const std::vector<CaseRecord>& cases);

/// Writes splits.json, preparation.json and, last, dataset.json. Throws InputError where they cannot be written.
void write_dataset_files(const std::filesystem::path& dataset, const Study& study, const PreparationResult& result);

/// For a terminal: scans, lesions, their sizes, what was left out and why.
std::string preparation_summary(const Study& study, const PreparationResult& result);

}  // namespace iwseg
