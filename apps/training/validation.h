#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "apps/config/config.h"
#include "apps/prediction/operating_point.h"
#include "apps/training/validation_plan.h"
#include "apps/training/validation_score.h"
#include "data/class_scheme.h"
#include "data/dataset.h"
#include "engine/context.h"
#include "engine/parameters.h"
#include "losses/class_loss_program.h"
#include "losses/loss.h"
#include "models/class_predictor.h"
#include "models/grid_prediction.h"
#include "models/network.h"

namespace iwseg {

struct ValidationOptions {
    Network network;
    Loss loss;
    Split split;
    std::optional<ClassLossOptions> classes = {};  ///< of the loss, where several are told apart
};

/// What looking at every validation scan tells of masks.
struct MaskChoice {
    std::optional<OperatingPoint> point;  ///< none where no lesion is found by any rule
    std::int64_t lesions = 0;             ///< of all scans
};

/// Predicts validation scans with the weights of a training, one scan in memory at a time. Works on a copy of the
/// weights and draws no random numbers: a training's bytes are the same with and without it.
class Validation {
  public:
    /// The dataset and the configuration must outlive it. Labelled cases of split.validation take part; where there are
    /// none, or validate_share is 0, nothing does. Reads their labels, as scans with lesions come first in a pass.
    /// Throws InputError where a label or a scan's header cannot be read.
    Validation(Context& context, const Dataset& dataset, const Config& config, const ValidationOptions& options);

    bool any() const { return !cases_.empty(); }
    /// The most that looking at one scan takes, network included; 0 where there is none.
    std::int64_t bytes() const { return bytes_; }
    /// The network's arrays, for their names and shapes.
    const Parameters& weights() const { return weights_; }
    /// What it costs and which scans it looks at, for the terminal.
    void describe() const;

    /// Whether a pass comes after that step (from 1). After the last one it always does.
    bool due(std::int64_t step) const;
    /// Looks at the scans of a pass. Throws Interrupted on Ctrl-C.
    ValidationScore score(Parameters& trained, std::int64_t step);
    /// Looks at every scan, and chooses the rule of masks by them; score, where wanted, receives what a pass would.
    MaskChoice choose(Parameters& trained, std::int64_t step, ValidationScore* score = nullptr);

  private:
    struct Sums;
    void use(Parameters& trained);
    void look_at(std::size_t scan, std::int64_t step, Sums* sums, OperatingPointSearch* search);
    std::int64_t patches_of(const Extent& shape) const;
    std::int64_t bytes_of(const Extent& shape) const;

    Context& context_;
    const Dataset& dataset_;
    const Config& config_;
    Loss loss_;
    ClassScheme scheme_;
    std::optional<ClassLossOptions> classes_;
    std::vector<Case> cases_;  ///< those with a lesion first
    std::size_t with_lesions_ = 0;
    ValidationPlan plan_;
    bool on_test_scans_ = false;
    std::map<std::string, std::int64_t> test_scans_;  ///< where so: bytes by name
    std::int64_t bytes_ = 0, patches_of_pass_ = 0, patches_ = 0;
    Parameters weights_;
    // Where there is any scan, one of these: of one class, or of several.
    std::optional<GridPredictor> predictor_;
    std::optional<ClassPredictor> several_;
};

}  // namespace iwseg
