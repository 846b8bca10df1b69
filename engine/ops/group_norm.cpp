#include "engine/ops/group_norm.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/instance_norm.h"
#include "engine/ops/relu.h"
#include "engine/plan.h"
#include "kernels/norm/group_norm.h"

// Instance normalisation is group normalisation of one channel a group.
namespace iwseg {
namespace {

/// What a plan's calls share.
struct ReadyNorm {
    Parameters parameters;
    ParameterId scale, shift;
    Buffer buffer;  ///< of the statistics: each sample's means, then each sample's inverse deviations
    std::int64_t groups = 1, places = 0;  ///< places: samples times channels

    BatchNormStatistics statistics(const Plan& plan) const {
        auto* values = plan.data<float>(buffer);
        return {values, values + places};
    }
    BatchNormWeights weights() const { return {parameters.device_value(scale), parameters.device_value(shift)}; }
};
using SharedNorm = std::shared_ptr<const ReadyNorm>;

/// groups: 0, as many as channels, which is instance normalisation.
class GroupNormOperation final : public Operation {
  public:
    GroupNormOperation(std::int64_t groups, GroupNormOptions options, NormActivation activation)
        : groups_(groups), options_(std::move(options)), activation_(activation) {}

    std::string name() const override { return options_.name; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        const Shape& x = inputs.at(0);
        const auto refuse = [&](const std::string& what) { throw std::invalid_argument(options_.name + ": " + what); };
        if (groups_ < 0 || x.c % groups_of(x) != 0)
            refuse("expected a number of groups that divides " + std::to_string(x.c) + " channels, not " +
                   std::to_string(groups_));
        if (x.c / groups_of(x) * x.voxels() < 2)
            refuse(std::string("expected ") + (groups_ ? "groups" : "channels") + " of several voxels, not " +
                   text_of(x));
        return {x};
    }
    std::vector<ParameterSpec> parameters(const std::vector<Shape>& inputs) const override {
        const std::vector<std::int64_t> shape{inputs.at(0).c};
        return {{options_.name + ".weight", shape, Initial::ones()},
                {options_.name + ".bias", shape, Initial::zeros()}};
    }
    std::shared_ptr<const Operation> followed_by(const Operation& next, int) const override {
        const auto* activation = dynamic_cast<const LeakyReluOperation*>(&next);
        if (activation_.slope != 1 || !activation) return nullptr;
        return std::make_shared<GroupNormOperation>(groups_, options_, NormActivation{activation->slope()});
    }
    void prepare(const Lowering& lowering) const override {
        const Shape shape = lowering.program()[lowering.input(0)].shape;
        const std::int64_t places = shape.n * shape.c;
        const Buffer statistics =
            lowering.program().add_bytes(name() + " statistics", 2 * places * static_cast<std::int64_t>(sizeof(float)));
        lowering.state() = std::make_shared<const ReadyNorm>(ReadyNorm{
            lowering.parameters(), lowering.parameter(0), lowering.parameter(1), statistics, groups_of(shape), places});
    }
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;
    bool rebuilds() const override { return true; }
    void rebuild(const Lowering& lowering, Buffer again) const override { add_apply(lowering, again, "rebuild"); }

  private:
    void add_apply(const Lowering& lowering, Buffer y, const std::string& pass) const;
    std::int64_t groups_of(const Shape& x) const { return groups_ ? groups_ : x.c; }
    /// As a table of a step's times has it.
    std::string kind(const std::string& pass) const { return (groups_ ? "group norm " : "instance norm ") + pass; }
    static std::int64_t scratch_bytes(const Lowering& lowering) {
        const BufferSpec& x = lowering.program()[lowering.input(0)];
        return lowering.device().group_norm_scratch_bytes(x.shape, x.form.layout);
    }

    std::int64_t groups_;
    GroupNormOptions options_;
    NormActivation activation_;
};

void GroupNormOperation::forward(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0), sums = lowering.scratch(scratch_bytes(lowering));
    lowering.add({name() + " statistics",
                  kind("statistics"),
                  {x},
                  {ready->buffer, sums},
                  [=, epsilon = options_.epsilon](const Plan& plan) {
                      plan.device().group_norm_statistics(plan.stream(), plan[x], ready->groups, epsilon,
                                                          ready->statistics(plan), plan[sums].data);
                  }});
    add_apply(lowering, lowering.output(), "forward");
}

void GroupNormOperation::add_apply(const Lowering& lowering, Buffer y, const std::string& pass) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0);
    Call call{name() + " " + pass, kind(pass), {x, ready->buffer}, {y}, {}};
    call.in_place = {x, y};
    call.run = [=, activation = activation_](const Plan& plan) {
        plan.device().group_norm_apply(plan.stream(), plan[x], ready->statistics(plan), ready->weights(), activation,
                                       plan[y]);
    };
    lowering.add(std::move(call));
}

void GroupNormOperation::backward(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0), diff_y = lowering.output_gradient();
    const GradientDestination to = lowering.input_gradient(0);
    const Buffer sums = lowering.scratch(scratch_bytes(lowering));
    Call call{name() + " backward", kind("backward"), {x, diff_y, ready->buffer}, {to.buffer, sums}, {}};
    call.run = [=, activation = activation_](const Plan& plan) {
        plan.device().group_norm_backward(plan.stream(), plan[x], plan[diff_y], ready->groups, ready->statistics(plan),
                                          ready->weights(), activation, plan[to.buffer], to.write,
                                          ready->parameters.device_gradient(ready->scale),
                                          ready->parameters.device_gradient(ready->shift), plan[sums].data);
    };
    // Both are read twice: every element of the gradient needs two sums over all of its group.
    call.bytes_outside = lowering.program()[x].bytes() + lowering.program()[diff_y].bytes();
    if (to.write == Write::accumulate)
        call.reads.push_back(to.buffer);
    else
        call.in_place = {diff_y, to.buffer};
    lowering.add(std::move(call));
}

}  // namespace

Tensor group_norm(Tensor x, int groups, const GroupNormOptions& options) {
    GroupNormOptions named = options;
    if (named.name.empty()) named.name = x.graph->fresh_name("group_norm");
    if (groups < 1)
        throw std::invalid_argument(named.name + ": expected groups of at least one, not " + std::to_string(groups));
    return x.graph->add_one(std::make_shared<GroupNormOperation>(groups, std::move(named), kNoActivation), {x});
}

Tensor instance_norm(Tensor x, const InstanceNormOptions& options) {
    GroupNormOptions named{options.epsilon, options.name};
    if (named.name.empty()) named.name = x.graph->fresh_name("instance_norm");
    return x.graph->add_one(std::make_shared<GroupNormOperation>(0, std::move(named), kNoActivation), {x});
}

}  // namespace iwseg
