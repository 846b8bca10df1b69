#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "studies/dataset_files.h"
#include "studies/study.h"

namespace iwseg {

struct PreparationRunOptions {
    std::filesystem::path out{};          ///< the dataset to make or to go on with
    std::vector<std::string> excluded{};  ///< scans to leave out, known or not
    std::int64_t memory = 0;              ///< bytes for the scans in work together; 0: half of what is free
    int threads = 0;                      ///< scans in work at a time; 0: as many as the processor has
};

/// Prepares every scan of the study that the dataset does not hold yet, or whose raw files have changed, several at a
/// time; a scan that alone needs more than the memory is worked on alone. Then writes the dataset's files about all it
/// holds, scans of earlier calls with another part of the raw folder included; excluded ones are removed. A scan that
/// cannot be prepared is left out with its reason. Throws InputError where the folder holds something else or cannot be
/// written, or no scan could be prepared; Interrupted on Ctrl-C, what is whole being kept.
PreparationResult prepare_study(const Study& study, const PreparationRunOptions& options);

/// Names for --exclude: each item is a scan's name, or a file of names, as a JSON list or apart by white space or
/// commas. Throws InputError where a name not from a file is none of the study's (naming the nearest).
std::vector<std::string> excluded_names(const Study& study, const std::vector<std::string>& items);

}  // namespace iwseg
