#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "evaluation/candidate_froc.h"

namespace CLI {
class App;
}

namespace iwseg {

/// LUNA16's four lists, the name of the entry in froc.json and how to evaluate.
struct CandidateArguments {
    std::filesystem::path candidates, annotations, excluded, scans;
    std::string name;  ///< empty: that of the file of candidates
    std::int64_t most = 100;
    CandidateFrocOptions options;
};

void add_candidate_options(CLI::App& command, CandidateArguments& arguments);

/// Writes froc.json and froc.svg into the folder and prints a table. Throws InputError for files that cannot be
/// evaluated.
void run_candidate_froc(const CandidateArguments& arguments, const std::filesystem::path& out);

}  // namespace iwseg
