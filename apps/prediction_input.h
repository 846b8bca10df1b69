#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/prediction_run.h"
#include "data/dataset.h"

namespace iwseg {

/// What predict is to work on, as its command line names it.
struct PredictionRequest {
    std::vector<std::filesystem::path> runs{};   ///< empty: weights alone; several are averaged
    std::filesystem::path data{};                ///< a dataset; empty: input
    std::vector<std::filesystem::path> input{};  ///< a folder of scans or of a dataset, or files
    std::vector<std::string> cases{};            ///< empty: chosen by rule
};

struct PredictionInput {
    Dataset dataset;  ///< its notes tell what was passed over and how channels are matched
    std::vector<Case> cases;
    std::string choice;  ///< which cases they are, in words
};

/// Finds the scans. Of the dataset that the run was trained on, the cases to test on, with several runs those that none
/// of them was trained on; of others, all. Channels of
/// plain files are those of the dataset that was trained on or those that the network takes, by position;
/// network.config is changed to say so. Throws InputError where scans do not fit the network, are not there, or share a
/// name.
PredictionInput find_scans(const PredictionRequest& request, TrainedNetwork& network);

}  // namespace iwseg
