#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "apps/config/config.h"
#include "apps/run_folder/run_folder.h"
#include "data/dataset.h"

namespace iwseg {

/// What a result is made of.
struct Ingredients {
    std::vector<std::pair<std::string, std::filesystem::path>> files;  ///< by the name that is recorded and said
    std::map<std::string, std::string> settings;
};

/// What a file was: of one that was not there all is 0.
struct FileState {
    std::uint64_t bytes = 0;
    std::int64_t changed = 0;  ///< nanoseconds, of the file system's clock
    std::uint32_t crc = 0;

    static FileState of(const std::filesystem::path& file);
};

/// What ingredients were at a time. Taken before the work, so that what is replaced meanwhile is noticed later.
struct Snapshot {
    std::map<std::string, FileState> files;
    std::map<std::string, std::string> settings;

    static Snapshot of(const Ingredients& ingredients);
    /// Adds those of another time; of what both have, the other's.
    void add(const Snapshot& other);
};

/// RUN/inputs.json: of what each result of a run was made. A file is the same as long as its size and time of last
/// change are; where the time alone differs, as after a copy, its CRC-32 decides. Times alone tell neither.
class RunInputs {
  public:
    explicit RunInputs(std::filesystem::path file);

    bool knows(const std::string& result) const { return results_.contains(result); }
    /// What differs from what was recorded, in words; empty where nothing does. The result must be known.
    std::vector<std::string> changes(const std::string& result, const Ingredients& now);
    /// Keeps what the result was made of. Throws InputError where inputs.json cannot be written.
    void record(const std::string& result, const Snapshot& made_of);

  private:
    static bool same(FileState& recorded, const std::filesystem::path& file);
    void read();
    void write() const;

    std::filesystem::path file_;
    std::map<std::string, Snapshot> results_;
};

/// The scans and labels that are trained on.
Ingredients training_ingredients(const Dataset& dataset, const Split& split);
/// What a prediction is made of: the case's images, the weights, and the keys by which scans are read and predicted.
Ingredients prediction_sources(const Dataset& dataset, const Case& scan, const std::filesystem::path& weights,
                               const Config& config);
/// The files that hold the prediction, which somebody else may have written since.
Ingredients prediction_files_of(const Case& scan, const std::filesystem::path& predictions);
/// Both together.
Ingredients prediction_ingredients(const Dataset& dataset, const Case& scan, const std::filesystem::path& weights,
                                   const Config& config, const std::filesystem::path& predictions);
/// The records: each case's label and prediction, and which label values are lesion.
Ingredients records_ingredients(const Dataset& dataset, const std::vector<Case>& cases,
                                const std::filesystem::path& predictions, const Config& config);
/// report.html: the records, what the run's folder says of its making, the masks and scans that are shown, the name
/// that the run has there, and the page of all experiments that it links (empty: none).
Ingredients report_ingredients(const RunFolder& run, const Dataset& dataset, const std::vector<Case>& cases,
                               const std::string& name, const std::string& summary);

/// What result a case's prediction is called in inputs.json.
std::string prediction_result(const std::string& case_name);

/// Keeps what a training that begins is made of; of one that goes on or is finished it prints a line where the files
/// have changed since it was begun, since a network is not trained anew by itself.
void check_training_inputs(const RunFolder& run, const Dataset& dataset, const Split& split, bool begins);

/// Prints a line for predictions in a run's folder that were made of other scans than the dataset has now.
void note_stale_predictions(const std::filesystem::path& predictions, const Dataset& dataset,
                            const std::vector<Case>& cases);

}  // namespace iwseg
