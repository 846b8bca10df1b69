#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <variant>

#include "engine/context.h"
#include "engine/optimizer.h"
#include "engine/parameters.h"
#include "losses/loss.h"
#include "models/network.h"
#include "training/batch.h"

namespace iwseg {

class TrainingSession;

/// Of activations and of what convolutions multiply; weights and sums are f32.
enum class Precision : std::uint8_t { fp32, bf16 };

struct TrainerOptions {
    Shape input;  ///< (N, C, D, H, W) of the images of a batch
    Precision precision = Precision::fp32;
    std::uint64_t seed = 0;  ///< of initial weights
    int batches = 1;         ///< that step() is called with for each update: their gradients are averaged
    float clip_norm = 0;     ///< the gradients' norm is made at most this; 0: left as it is
    float average = 0;       ///< decay of a moving average of the weights, below 1; 0: none
    int connectivity = 26;   ///< by which voxels belong to one component, for losses that look at lesions
};

struct StepOptions {
    float rate = 1e-2f;  ///< learning rate
};

/// Trains a network on batches that the caller makes: forward and backward passes, update, and, where the loss wants
/// them, components of the target and their inverse weights.
class Trainer {
  public:
    /// Makes the network and its initial weights ready. Throws InputError where the network does not take the input,
    /// and, with how much is needed and free, where the device lacks the memory.
    Trainer(const Context& context, const Network& network, const Loss& loss, const std::variant<Sgd, AdamW>& rule,
            const TrainerOptions& options);
    ~Trainer();
    Trainer(Trainer&&) noexcept;
    Trainer& operator=(Trainer&&) noexcept;

    /// One batch, and, with the last of `batches`, one update. image: (N, C, D, H, W); target: (N, D, H, W), 0, 1, or
    /// kIgnored (255), which no loss sees. Returns the batch's loss, before the update; not finite where training
    /// diverged. Throws std::invalid_argument on spans of other sizes and targets of other values.
    double step(std::span<const float> image, std::span<const std::uint8_t> target, const StepOptions& options = {});

    /// Weights as trained so far, to be looked at, saved, or loaded before the first step: the network's own. From the
    /// first step on, where the options ask for moving averages, a copy of these.
    Parameters parameters();
    /// Updates so far.
    std::int64_t steps() const;
    /// Bytes of the device's memory that are taken, for as long as this lives.
    std::int64_t bytes() const;
    /// For people: "2 x 1 x 64 x 64 x 64 in bf16: 12345 parameters, 0.41 GB on 2 threads of …".
    std::string description() const;
    /// All that a training goes on from, as FOLDER/model.safetensors and FOLDER/optimizer.safetensors; makes the
    /// folder. Throws InputError, naming the file, as Parameters and Optimizer do, and std::logic_error between the
    /// batches of an update.
    void save(const std::filesystem::path& folder);
    void load(const std::filesystem::path& folder);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace iwseg
