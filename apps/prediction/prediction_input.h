#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/prediction/prediction_run.h"
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
    /// Those of the cases that are test scans of one of the networks: of its run, where the run was trained on this
    /// dataset or on files of that name and size, or by what its weights say.
    std::vector<std::string> own_test_scans = {};
};

/// Finds the scans. Of the dataset that a run was trained on, the cases to test on; with several runs those that none
/// of them was trained on; of others, all. Each run is asked whether the dataset is its own. Channels of plain files
/// are those of the dataset that the first run was trained on or those that its network takes, by position; the
/// configurations of all networks are changed to say so. networks: at least one, those of the runs in their order.
/// Throws InputError where scans do not fit the network, are not there, or share a name.
PredictionInput find_scans(const PredictionRequest& request, std::vector<TrainedNetwork>& networks);

}  // namespace iwseg
