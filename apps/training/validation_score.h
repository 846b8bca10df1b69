#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evaluation/records.h"

namespace iwseg {

/// What a network made of validation scans after a step. Recall is that of evaluate and froc (protocol corrected).
struct ValidationScore {
    std::int64_t step = 0, scans = 0, lesions = 0;
    std::optional<double> average_recall;  ///< mean recall at 0 to 5 false positives a scan; none without a lesion
    std::vector<double> sensitivity;       ///< at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan; empty likewise
    double dice = 0;                       ///< of probability > 0.5, mean over scans
    double loss = 0;                       ///< the training's, each scan as one patch, mean over scans
    double seconds = 0;                    ///< that it took
    /// Where classes are told apart: each by itself. Recall and Dice above are then the means over them.
    struct OfClass {
        std::string name;
        std::int64_t lesions = 0;
        std::optional<double> average_recall;
        double dice = 0;
    };
    std::vector<OfClass> classes = {};

    /// The rule by which one step's weights are better than another's: the larger average recall; of equal ones the
    /// larger Dice.
    bool better_than(const ValidationScore& other) const;
    /// Sets lesions, average_recall and sensitivity from the records of all scans.
    void set_recall(const Records& records);
};

/// The line of log.jsonl: {"step": …, "epoch": …, "validation": {…}, "best": …}; of several classes with
/// "classes": {NAME: {"lesions": …, "average_recall": …, "dice": …}} in "validation".
nlohmann::json validation_line(const ValidationScore& score, std::int64_t epoch, bool best);
/// None where the line is not of that form.
std::optional<ValidationScore> parse_validation_line(const nlohmann::json& line);
/// Those of log.jsonl, in the order of steps; none where there is no such file.
std::vector<ValidationScore> read_validation_scores(const std::filesystem::path& log);
/// The best one, of equal ones the first; null where there is none. A pass without a lesion is none: on it the emptiest
/// network would be the best.
const ValidationScore* best_of(const std::vector<ValidationScore>& scores);

}  // namespace iwseg
