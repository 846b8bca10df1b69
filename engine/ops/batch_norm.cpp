#include "engine/ops/batch_norm.h"

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/relu.h"
#include "engine/plan.h"
#include "kernels/norm/batch_norm.h"

namespace iwseg {
namespace {

/// What a plan's calls share.
struct ReadyNorm {
    Parameters parameters;
    ParameterId scale, shift, mean, variance;
    Buffer buffer;  ///< of the statistics: means, then inverse deviations
    std::int64_t channels = 0;
    float momentum = 0;

    BatchNormStatistics statistics(const Plan& plan) const {
        auto* values = plan.data<float>(buffer);
        return {values, values + channels};
    }
    BatchNormWeights weights() const { return {parameters.device_value(scale), parameters.device_value(shift)}; }
    RunningStatistics running() const {
        return {parameters.device_value(mean), parameters.device_value(variance), momentum};
    }
};
using SharedNorm = std::shared_ptr<const ReadyNorm>;

class BatchNormOperation final : public Operation {
  public:
    BatchNormOperation(NormOptions options, NormActivation activation)
        : options_(std::move(options)), activation_(activation) {}

    std::string name() const override { return options_.name; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return {inputs.at(0)}; }
    std::vector<ParameterSpec> parameters(const std::vector<Shape>& inputs) const override;
    std::shared_ptr<const Operation> followed_by(const Operation& next, int operand) const override;
    bool reads_statistics(int) const override { return true; }
    std::optional<Normalisation> normalisation(const Lowering& lowering) const override;
    std::optional<EpilogueForm> epilogue() const override {
        return EpilogueForm{.wanted = true, .normalises = true, .activation = activation_};
    }
    EpilogueOperands epilogue_operands(const Lowering& lowering) const override {
        add_statistics(lowering);
        const auto ready = std::any_cast<SharedNorm>(lowering.state());
        return {ready->buffer, [=](const Plan& plan) { return ready->statistics(plan); },
                [=] { return ready->weights(); }};
    }
    void prepare(const Lowering& lowering) const override;
    void forward(const Lowering& lowering) const override;
    void backward(const Lowering& lowering) const override;
    bool rebuilds() const override { return true; }
    void rebuild(const Lowering& lowering, Buffer again) const override { add_apply(lowering, again, "rebuild"); }

  private:
    void add_statistics(const Lowering& lowering) const;
    void add_apply(const Lowering& lowering, Buffer y, const std::string& pass) const;
    Buffer scratch(const Lowering& lowering) const;

    NormOptions options_;
    NormActivation activation_;
};

std::vector<ParameterSpec> BatchNormOperation::parameters(const std::vector<Shape>& inputs) const {
    const std::vector<std::int64_t> shape{inputs.at(0).c};
    return {{options_.name + ".weight", shape, Initial::ones()},
            {options_.name + ".bias", shape, Initial::zeros()},
            {options_.name + ".running_mean", shape, Initial::zeros(), false},
            {options_.name + ".running_var", shape, Initial::ones(), false}};
}

std::shared_ptr<const Operation> BatchNormOperation::followed_by(const Operation& next, int) const {
    const auto* activation = dynamic_cast<const LeakyReluOperation*>(&next);
    if (activation_.slope != 1 || !activation) return nullptr;
    return std::make_shared<BatchNormOperation>(options_, NormActivation{activation->slope()});
}

void BatchNormOperation::prepare(const Lowering& lowering) const {
    const std::int64_t channels = lowering.program()[lowering.input(0)].shape.c;
    const Buffer statistics =
        lowering.program().add_bytes(name() + " statistics", 2 * channels * static_cast<std::int64_t>(sizeof(float)));
    lowering.state() = std::make_shared<const ReadyNorm>(
        ReadyNorm{lowering.parameters(), lowering.parameter(0), lowering.parameter(1), lowering.parameter(2),
                  lowering.parameter(3), statistics, channels, options_.momentum});
}

std::optional<Normalisation> BatchNormOperation::normalisation(const Lowering& lowering) const {
    if (activation_.slope != kRelu.slope) return std::nullopt;  // what kernels compute on the way
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    return Normalisation{lowering.input(0), ready->buffer, [=](const Plan& plan) { return ready->statistics(plan); },
                         [=] { return ready->weights(); }};
}

Buffer BatchNormOperation::scratch(const Lowering& lowering) const {
    const BufferSpec& x = lowering.program()[lowering.input(0)];
    return lowering.scratch(lowering.device().batch_norm_scratch_bytes(x.shape, x.form.layout));
}

void BatchNormOperation::forward(const Lowering& lowering) const {
    add_statistics(lowering);
    if (lowering.output_wanted()) add_apply(lowering, lowering.output(), "forward");
}

void BatchNormOperation::add_statistics(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0);
    Call call{name() + " statistics", "batch norm statistics", {}, {ready->buffer}, {}};
    if (const auto left = lowering.training() ? lowering.sums_of(0) : std::nullopt) {
        call.reads = {left->buffer};
        call.bytes_outside = lowering.program()[left->buffer].bytes();
        call.run = [=, epsilon = options_.epsilon](const Plan& plan) {
            left->statistics(plan, epsilon, ready->statistics(plan), ready->running());
        };
    } else if (lowering.training()) {
        const Buffer sums = scratch(lowering);
        call.reads = {x};
        call.writes.push_back(sums);
        call.run = [=, epsilon = options_.epsilon](const Plan& plan) {
            plan.device().batch_norm_statistics(plan.stream(), plan[x], epsilon, ready->statistics(plan),
                                                ready->running(), plan[sums].data);
        };
    } else {
        call.run = [=, epsilon = options_.epsilon](const Plan& plan) {
            plan.device().batch_norm_running_statistics(plan.stream(), ready->channels, epsilon, ready->running(),
                                                        ready->statistics(plan));
        };
    }
    lowering.add(std::move(call));
}

void BatchNormOperation::add_apply(const Lowering& lowering, Buffer y, const std::string& pass) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0);
    Call call{name() + " " + pass, "batch norm " + pass, {x, ready->buffer}, {y}, {}};
    call.in_place = {x, y};
    call.run = [=, activation = activation_](const Plan& plan) {
        plan.device().batch_norm_apply(plan.stream(), plan[x], ready->statistics(plan), ready->weights(), activation,
                                       plan[y]);
    };
    lowering.add(std::move(call));
}

void BatchNormOperation::backward(const Lowering& lowering) const {
    const auto ready = std::any_cast<SharedNorm>(lowering.state());
    const Buffer x = lowering.input(0), diff_y = lowering.output_gradient();
    const GradientDestination to = lowering.input_gradient(0);
    const Buffer sums = scratch(lowering);
    Call call{name() + " backward", "batch norm backward", {x, diff_y, ready->buffer}, {to.buffer, sums}, {}};
    call.run = [=, activation = activation_](const Plan& plan) {
        const Parameters& parameters = ready->parameters;
        plan.device().batch_norm_backward(plan.stream(), plan[x], plan[diff_y], ready->statistics(plan),
                                          ready->weights(), activation, plan[to.buffer], to.write,
                                          parameters.device_gradient(ready->scale),
                                          parameters.device_gradient(ready->shift), plan[sums].data);
    };
    // Both are read twice: every element of the gradient needs two sums over all of them.
    call.bytes_outside = lowering.program()[x].bytes() + lowering.program()[diff_y].bytes();
    if (to.write == Write::accumulate)
        call.reads.push_back(to.buffer);
    else
        call.in_place = {diff_y, to.buffer};
    lowering.add(std::move(call));
}

}  // namespace

Tensor batch_norm(Tensor x, const NormOptions& options) {
    NormOptions named = options;
    if (named.name.empty()) named.name = x.graph->fresh_name("batch_norm");
    return x.graph->add_one(std::make_shared<BatchNormOperation>(std::move(named), kNoActivation), {x});
}

}  // namespace iwseg
