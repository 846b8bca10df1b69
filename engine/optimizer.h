#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/flat_array.h"
#include "engine/parameters.h"
#include "engine/program.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/sgd.h"
#include "kernels/optimizer/update_step.h"

namespace iwseg {

using Sgd = SgdOptions;
using AdamW = AdamWOptions;

/// How parameters follow from gradients.
struct OptimizerOptions {
    std::variant<Sgd, AdamW> rule = Sgd{};
    int batches = 1;      ///< whose gradients a step averages before it updates: more than memory holds at once
    float clip_norm = 0;  ///< the gradients' Euclidean norm is made at most this; 0: left as it is
    float average = 0;    ///< decay of a moving average of all weights, below 1; 0: there is none
};

/// Updates a network's parameters, and owns what that takes: momentum, moments, sums of gradients, averages. One that
/// a training goes on with is saved and loaded.
class Optimizer {
  public:
    /// Of parameters that are all declared. Throws std::invalid_argument on options outside of their ranges.
    Optimizer(const Parameters& parameters, const OptimizerOptions& options);
    Optimizer(const Optimizer&) = delete;
    Optimizer& operator=(const Optimizer&) = delete;

    /// From here on updates run on that device; the device and its stream must outlive this.
    void place(const Backend& device, Stream stream);
    /// Adds an update's calls after a program's backward pass. step: where what next() gave lies in the device's
    /// memory, asked at each run. This must outlive the plan.
    void add_calls(Program& program, const Backend& device, std::function<const UpdateStep*()> step);
    /// Bytes of the device's memory that place() takes.
    std::int64_t bytes() const;

    /// What the coming batch's update reads; once a batch, in order.
    UpdateStep next(float rate);
    /// That batch has run.
    void finish() { ++finished_; }
    /// Steps so far: updates, however many batches each takes.
    std::int64_t steps() const { return finished_ / options_.batches; }

    const OptimizerOptions& options() const { return options_; }
    bool averages() const { return options_.average > 0; }
    /// Sets the values and running statistics of another network of the same arrays to the averages. Throws
    /// std::logic_error where there are none: without the option, and before the first step.
    void copy_averages(Parameters& to);

    /// Host memory of one of the rule's arrays, by the ending of its names in files; not what a device has at work.
    /// Throws std::out_of_range where there is none.
    std::vector<float>& array(const std::string& ending);

    /// What the next step needs, under the parameters' names: SGD's momentum as NAME, AdamW's moments as NAME.exp_avg
    /// and NAME.exp_avg_sq, averages as NAME.average; and the count of steps. Throws std::logic_error in the middle of
    /// a step's batches.
    void save(const std::filesystem::path& file);
    /// Throws InputError, naming file and array, where one is missing, of another shape or not finite.
    void load(const std::filesystem::path& file);

  private:
    /// An array for each of the parameters' flat buffers.
    struct State {
        std::string ending;  ///< of names in files
        FlatArray values;
        bool learned = true;  ///< laid out as learned parameters, else as running statistics
        bool saved = true;
    };
    State& add(const std::string& ending, bool learned, bool saved);
    void upload();
    void download();
    /// Calls body(name, parameter, values) for each array that is saved.
    void for_saved(const std::function<void(const std::string&, const Parameter&, float*)>& body);

    Parameters parameters_;
    OptimizerOptions options_;
    std::vector<std::unique_ptr<State>> states_;  ///< the rule's first
    State *sum_ = nullptr, *average_ = nullptr, *average_statistics_ = nullptr;
    const Backend* device_ = nullptr;  ///< where it has memory of its own
    Stream stream_;
    std::int64_t prepared_ = 0, finished_ = 0;  ///< batches
};

}  // namespace iwseg
