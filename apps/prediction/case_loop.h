#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "apps/prediction/memory_need.h"
#include "apps/prediction/prediction_run.h"
#include "base/extent.h"
#include "data/preparation.h"
#include "models/grid_prediction.h"

// What the predictions of networks of one class, of several, and of nnU-Net's models have alike: cases one after
// another, each with its line and its progress.
namespace iwseg {

/// Of the cases those of which a file is not there or older than a network's weights, or which the options do not call
/// current; all of them where finished ones are not to be skipped. files: what is written of a case.
std::vector<Case> unfinished(const std::vector<Case>& cases, const std::vector<TrainedNetwork>& networks,
                             const PredictionOptions& options,
                             const std::function<std::vector<std::filesystem::path>(const Case&)>& files);

/// Prints "predict  A (1 of 3), 96 x 96 x 72 voxels". number: from 0.
void print_case(const Case& scan, std::size_t number, std::size_t all, const Extent& shape);

/// Calls `predict` with what shows its progress and throws Interrupted on Ctrl-C. Throws InputError that names the case
/// where `predict` throws one.
void with_progress(const Case& scan, const std::function<void(const PatchProgress&)>& predict);

/// How one kind of network predicts a case.
struct CasePrediction {
    std::function<MemoryNeed(const Case&)> need;
    /// Predicts, and writes the files.
    std::function<void(const Case&, PreparedCase)> predict;
};

/// Says before the work what memory it takes, reads, predicts and writes the cases in turn, and says in the end which
/// voxels were replaced. Throws as predict_cases does.
void predict_one_by_one(const Dataset& dataset, const std::vector<Case>& cases, const PredictionOptions& options,
                        const PreparationOptions& reading, const CasePrediction& prediction);

}  // namespace iwseg
