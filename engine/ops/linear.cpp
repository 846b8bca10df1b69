#include "engine/ops/linear.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

/// A linear layer on its device, as a plan's calls share it.
struct ReadyLinear {
    Parameters parameters;
    ParameterId weight, bias;
    std::unique_ptr<const LinearLayer> layer;  ///< null: the device's functions are called

    float* value(ParameterId id) const { return id ? parameters.device_value(id) : nullptr; }
    float* gradient(ParameterId id) const { return id ? parameters.device_gradient(id) : nullptr; }
    Buffer scratch(const Lowering& lowering) const {
        return layer ? lowering.scratch(layer->scratch_bytes()) : Buffer();
    }
};
using SharedLinear = std::shared_ptr<const ReadyLinear>;

class LinearOperation final : public Operation {
  public:
    explicit LinearOperation(LinearOptions options) : options_(std::move(options)) {}
    std::string name() const override { return options_.name; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        const Shape& x = inputs.at(0);
        if (options_.features < 1)
            throw std::invalid_argument(name() + ": expected at least one feature, not " +
                                        std::to_string(options_.features));
        if (x.voxels() != 1)
            throw std::invalid_argument(name() + ": expected a tensor of one voxel (N, C, 1, 1, 1), not " + text_of(x) +
                                        "; global_average_pool makes one");
        return {{x.n, options_.features, 1, 1, 1}};
    }

    std::vector<ParameterSpec> parameters(const std::vector<Shape>& inputs) const override {
        const Initial initial = Initial::kaiming_uniform(inputs.at(0).c);
        std::vector<ParameterSpec> specs{{name() + ".weight", {options_.features, inputs[0].c}, initial}};
        if (options_.bias) specs.push_back({name() + ".bias", {options_.features}, initial});
        return specs;
    }

    void prepare(const Lowering& lowering) const override {
        const BufferSpec &x = lowering.program()[lowering.input(0)], &y = lowering.program()[lowering.output()];
        LinearForm form{.samples = x.shape.n, .inputs = x.shape.c, .outputs = y.shape.c, .type = x.form.type};
        form.bias = options_.bias;
        form.backward_data = lowering.wants_gradient(0);
        form.backward_weights = lowering.training();
        form.plan_file = lowering.context().plan_file();
        auto ready = std::make_shared<ReadyLinear>();
        ready->parameters = lowering.parameters();
        ready->weight = lowering.parameter(0);
        if (options_.bias) ready->bias = lowering.parameter(1);
        ready->layer = lowering.device().make_linear(lowering.context().stream(), form);
        lowering.state() = SharedLinear(std::move(ready));
    }

    void forward(const Lowering& lowering) const override {
        const auto ready = std::any_cast<SharedLinear>(lowering.state());
        const Buffer x = lowering.input(0), y = lowering.output(), scratch = ready->scratch(lowering);
        Call call{name(), "linear", {x}, {y}, {}};
        if (scratch) call.writes.push_back(scratch);
        call.run = [=](const Plan& plan) {
            float *const weights = ready->value(ready->weight), *const bias = ready->value(ready->bias);
            if (ready->layer)
                ready->layer->forward(plan.stream(), plan[x], weights, bias, plan[y], plan[scratch].data);
            else
                plan.device().linear(plan.stream(), plan[x], weights, bias, plan[y]);
        };
        lowering.add(std::move(call));
    }

    void backward(const Lowering& lowering) const override {
        const auto ready = std::any_cast<SharedLinear>(lowering.state());
        const Buffer x = lowering.value(0), diff_y = lowering.output_gradient(), scratch = ready->scratch(lowering);
        Call of_weights{name() + " weight gradient", "linear weight gradient", {x, diff_y}, {}, {}};
        if (scratch) of_weights.writes.push_back(scratch);
        of_weights.run = [=](const Plan& plan) {
            float *const weights = ready->gradient(ready->weight), *const bias = ready->gradient(ready->bias);
            if (ready->layer)
                ready->layer->backward_weights(plan.stream(), plan[x], plan[diff_y], weights, bias, plan[scratch].data);
            else
                plan.device().linear_backward_weights(plan.stream(), plan[x], plan[diff_y], weights, bias);
        };
        lowering.add(std::move(of_weights));
        if (!lowering.wants_gradient(0)) return;
        const GradientDestination to = lowering.input_gradient(0);
        const Buffer beside = ready->scratch(lowering);
        Call of_data{name() + " data gradient", "linear data gradient", {diff_y}, {to.buffer}, {}};
        if (beside) of_data.writes.push_back(beside);
        of_data.run = [=](const Plan& plan) {
            const float* weights = ready->value(ready->weight);
            if (ready->layer)
                ready->layer->backward_data(plan.stream(), plan[diff_y], weights, plan[to.buffer], to.write,
                                            plan[beside].data);
            else
                plan.device().linear_backward_data(plan.stream(), plan[diff_y], weights, plan[to.buffer], to.write);
        };
        if (to.write == Write::accumulate) of_data.reads.push_back(to.buffer);
        lowering.add(std::move(of_data));
    }

  private:
    LinearOptions options_;
};

}  // namespace

Tensor linear(Tensor x, const LinearOptions& options) {
    LinearOptions named = options;
    if (named.name.empty()) named.name = x.graph->fresh_name("linear");
    return x.graph->add_one(std::make_shared<LinearOperation>(std::move(named)), {x});
}

}  // namespace iwseg
