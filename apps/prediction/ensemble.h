#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/prediction/prediction_run.h"
#include "engine/context.h"
#include "engine/parameters.h"
#include "models/grid_prediction.h"
#include "models/sliding_window.h"

namespace iwseg {

/// Throws InputError, naming both files and what differs, unless the networks have the same widths and read scans
/// alike.
void require_alike(const std::vector<TrainedNetwork>& networks);

/// The windows that are asked for, or those of the grid's patch and stride.
SlidingWindowOptions windows_of(const TrainedNetwork& network, const PredictionOptions& options);

/// "predict.patch and predict.stride differ: 160 and 144 of A, 128 and 112 of B", naming the first that differs from
/// the first network; empty where none does.
std::string other_grids(const std::vector<TrainedNetwork>& networks);

/// Predicts scans with several networks of one shape by the mean of their probabilities, and of their logits on their
/// own. Probabilities, not logits, are what is averaged because they are bounded: a network that is sure and wrong
/// counts as one of them, whatever its logits. Each file of weights is read once; those of several networks are held in
/// the host's memory, and a sum of both maps beside a network's result. Of a single network the result is its own, bit
/// for bit. By windows it is as nnU-Net averages: by logits alone.
class EnsemblePredictor {
  public:
    /// At least one network, all alike; by the grid of the options, or their windows. Throws InputError where the
    /// weights of one are not usable.
    EnsemblePredictor(Context& context, const std::vector<TrainedNetwork>& networks, const PredictionOptions& options);

    /// What a scan takes beside its image and its results: the network's arena, a patch, and the planes of windows.
    /// Weights are held already.
    std::int64_t bytes(const Extent& shape) const { return window_ ? window_->bytes(shape) : grid_->lasting_bytes(); }
    /// Whether a sum is held beside a network's result.
    bool sums() const { return grid_ && networks_ > 1; }
    /// Of all networks together.
    std::int64_t patches(std::int64_t d, std::int64_t h, std::int64_t w) const;
    Prediction predict(const float* image, std::int64_t d, std::int64_t h, std::int64_t w,
                       const PatchProgress& progress = {});

  private:
    void use(std::size_t network);
    Prediction predict_by_windows(const float* image, const Extent& shape, const PatchProgress& progress);

    std::size_t networks_, used_ = 0;  ///< how many there are; whose weights the parameters hold
    Parameters parameters_;
    std::optional<GridPredictor> grid_;
    std::optional<SlidingWindow> window_;      ///< in its place
    std::vector<std::vector<float>> weights_;  ///< of each network, its arrays one after another; none of a single one
};

/// What `predict` of several networks predicts where no cases are named: the dataset's cases without those that one of
/// the runs was trained on. Throws InputError where none is left.
std::vector<Case> cases_not_trained_on(const Dataset& dataset, const std::vector<std::filesystem::path>& runs);

}  // namespace iwseg
