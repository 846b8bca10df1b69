#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace iwseg {

/// trained_on.json of a run folder: which dataset the run was trained on, so that it is known again, wherever it lies.
struct TrainedOn {
    std::filesystem::path folder;  ///< as it was then, absolute
    std::string name;
    std::vector<std::string> channels;          ///< of the dataset, by number
    std::map<std::string, std::int64_t> cases;  ///< of the split: bytes of their image files

    /// Whether the dataset has all these cases, with image files of the same sizes, or lies in the same folder.
    bool is(const Dataset& dataset) const;
    /// Whether the scan is one of these cases, as far as name and size tell.
    bool holds(const Case& scan) const;
};

/// Bytes of the case's image files together; -1 where one is missing.
std::int64_t image_bytes(const Case& scan);

void write_trained_on(const std::filesystem::path& file, const Dataset& dataset, const Split& split);
/// Nothing where there is no such file, as in runs of earlier versions. Throws InputError where it is malformed.
std::optional<TrainedOn> read_trained_on(const std::filesystem::path& file);

}  // namespace iwseg
