#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/optimizer.h"
#include "engine/parameters.h"
#include "engine/plan.h"
#include "losses/class_loss_options.h"
#include "losses/loss.h"
#include "models/network.h"
#include "training/batch.h"
#include "training/resident_scans.h"

namespace iwseg {

struct TrainingOptions {
    /// With heads, the loss is the sum of those of its resolutions, by level_weights (training/target_level.h).
    Network network;
    Loss loss;
    bool bf16 = false;
    /// Where the network has a channel for each of several classes: batches' labels are then those of classes.
    std::optional<ClassLossOptions> classes = {};
    std::optional<Layout> layout = {};  ///< of activations, where it is not to be the device's preferred one
    Shape input;                        ///< (N, C, D, H, W)
    OptimizerOptions optimizer = {};
    /// One more than any label that a batch is to hold, where the loss reads labels; 0: as many as there are voxels.
    std::int64_t label_bound = 0;
    /// Where given, on a device with memory of its own that holds these scans beside the plan, they are uploaded once
    /// and a step takes places instead of a batch. Their memory must outlive the session; patches have the input's
    /// shape.
    std::optional<PatchCutting> cutting = {};
    std::int64_t memory_for_others = 0;  ///< bytes that are to be left free beside the plan and the scans
    std::optional<std::int64_t> memory_for_scans = {};  ///< bytes; else what is free when the plan is made
};

/// What a term of the loss, by its name without factor and warm-up, adds to it with both.
struct TermValue {
    std::string name;
    double value = 0;
};

struct StepOutcome {
    double loss = 0, seconds = 0;       ///< the time is the device's own
    std::vector<TermValue> terms = {};  ///< of a loss of several
};

/// Network, loss, backward pass and update for one input shape: the plan behind `iwseg train` and `bench step`. A run
/// is of one batch; parameters change with the last of the optimizer's batches.
class TrainingSession {
  public:
    /// parameters: empty (the network's are added and left zero) or those of the same network. Throws InputError where
    /// the patch is not usable or the memory does not suffice.
    TrainingSession(Context& context, Parameters& parameters, const TrainingOptions& options);
    ~TrainingSession();

    /// Bytes of the one arena every tensor lies in.
    std::int64_t arena_bytes() const;
    /// Bytes of the scans that lie on the device; 0: they do not, and only batches can be given.
    std::int64_t resident_bytes() const;

    /// Gives the coming run what it reads, also while the one before is still at work: a batch, which must stay as it
    /// is until the coming run is started, or places in the resident scans.
    void bind(const Batch& batch, float learning_rate);
    void bind(const std::vector<PatchPlace>& places, float learning_rate);
    /// Queues forward, loss, backward and update of what is bound; patches are cut first where places are. Returns at
    /// once where the device works on its own. Allocates nothing.
    void start();
    /// Waits for the step that was started.
    StepOutcome finish();
    /// start and finish; returns the loss.
    double run();
    /// The same, kernel by kernel.
    StepOutcome run_timed(StepTimes& times);
    /// bind and run.
    double step(const Batch& batch, float learning_rate);

    /// What updates the parameters, to be saved and loaded between steps.
    Optimizer& optimizer();

    /// For tests and measurements: the plan, the last step's logits and their gradient's place in it.
    Plan& plan();
    std::vector<float> logits() const;  ///< (N, K, D, H, W) f32, of the last step

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace iwseg
