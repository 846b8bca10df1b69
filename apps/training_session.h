#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/batch.h"
#include "engine/context.h"
#include "engine/parameters.h"
#include "engine/plan.h"
#include "losses/loss.h"
#include "models/unet.h"

namespace iwseg {

struct TrainingOptions {
    UnetOptions network;
    Loss loss;
    bool bf16 = false;
    Shape input;  ///< (N, C, D, H, W)
    float momentum = 0.9f;
    bool nesterov = true;
    float weight_decay = 0.0f;
};

/// Network, loss, backward pass and update for one input shape: the plan behind `iwseg train` and `bench step`.
class TrainingSession {
  public:
    /// parameters: empty (the network's are added and left zero) or those of the same network. Throws InputError where
    /// the patch is not usable or the memory does not suffice.
    TrainingSession(Context& context, Parameters& parameters, const TrainingOptions& options);
    ~TrainingSession();

    /// Bytes of the one arena every tensor lies in.
    std::int64_t arena_bytes() const;
    /// Forward, loss, backward, update. Returns the loss. Allocates nothing.
    double step(const Batch& batch, float learning_rate);

    /// For tests and measurements: the plan, the last step's logits and their gradient's place in it.
    Plan& plan();
    View logits() const;  ///< (N, 1, D, H, W) f32, of the last step
    /// Prepares everything of a step but runs nothing.
    void bind(const Batch& batch, float learning_rate);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Weights as PyTorch's Conv3d default (kaiming uniform, a = sqrt 5), BatchNorm scale 1, shift 0, running mean 0 and
/// variance 1; each array from (seed, its place), so that it does not depend on the others.
void initialise(Parameters& parameters, std::uint64_t seed);

}  // namespace iwseg
