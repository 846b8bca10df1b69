#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/view.h"

namespace iwseg {

class Plan;

/// A tensor of a program, by number. Its memory is found when the program is planned.
using Tensor = int;

struct TensorSpec {
    std::string name;
    Shape shape;
    Type type = Type::f32;
    Layout layout = Layout::ncdhw;
    bool external = false;  ///< the caller's memory, bound before each run
    bool output = false;    ///< still wanted after the last step

    std::int64_t bytes() const { return bytes_of(shape, type, layout); }
};

/// One call of kernels, with what it touches: all the plan needs to know about lifetimes.
struct Step {
    std::string name;                    ///< layer and pass, for people
    std::vector<Tensor> reads, writes;   ///< a tensor added to is in both; scratch is a write
    std::function<void(const Plan&)> run;
    /// The second may take the first's memory over, where nothing reads the first afterwards.
    std::optional<std::pair<Tensor, Tensor>> in_place = {};
    bool copies_only = false;            ///< nothing is left to do once its result has taken the source over
    std::int64_t operations = 0;         ///< multiplications and additions of a convolution, for measurements
    std::int64_t bytes_outside = 0;      ///< moved beside the tensors named, for measurements
};

/// Everything one run does, in order: forward, loss, backward, update. Made by a graph, executed by a plan.
class Program {
  public:
    Tensor add(TensorSpec spec);
    /// Memory without a shape, for one step or between a few: statistics, partial sums.
    Tensor add_bytes(const std::string& name, std::int64_t bytes);
    void add(Step step) { steps_.push_back(std::move(step)); }

    const TensorSpec& operator[](Tensor tensor) const { return tensors_.at(static_cast<std::size_t>(tensor)); }
    void keep(Tensor tensor) { tensors_.at(static_cast<std::size_t>(tensor)).output = true; }
    const std::vector<TensorSpec>& tensors() const { return tensors_; }
    const std::vector<Step>& steps() const { return steps_; }
    /// Steps handed over to a plan.
    std::vector<Step> take_steps() { return std::move(steps_); }

  private:
    std::vector<TensorSpec> tensors_;
    std::vector<Step> steps_;
};

}  // namespace iwseg
