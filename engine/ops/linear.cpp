#include "engine/ops/linear.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

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

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        lowering.add({name(), "linear", {x}, {y}, [=, shared = shared_of(lowering)](const Plan& plan) {
                          plan.device().linear(plan.stream(), plan[x], shared.value(shared.weight),
                                               shared.value(shared.bias), plan[y]);
                      }});
    }

    void backward(const Lowering& lowering) const override {
        const Buffer x = lowering.value(0), diff_y = lowering.output_gradient();
        const Shared shared = shared_of(lowering);
        lowering.add({name() + " weight gradient", "linear weight gradient", {x, diff_y}, {}, [=](const Plan& plan) {
                          plan.device().linear_backward_weights(plan.stream(), plan[x], plan[diff_y],
                                                                shared.gradient(shared.weight),
                                                                shared.gradient(shared.bias));
                      }});
        if (!lowering.wants_gradient(0)) return;
        const GradientDestination to = lowering.input_gradient(0);
        Call call{name() + " data gradient", "linear data gradient", {diff_y}, {to.buffer}, {}};
        call.run = [=](const Plan& plan) {
            plan.device().linear_backward_data(plan.stream(), plan[diff_y], shared.value(shared.weight),
                                               plan[to.buffer], to.write);
        };
        if (to.write == Write::accumulate) call.reads.push_back(to.buffer);
        lowering.add(std::move(call));
    }

  private:
    /// What a plan's calls share.
    struct Shared {
        Parameters parameters;
        ParameterId weight, bias;

        float* value(ParameterId id) const { return id ? parameters.device_value(id) : nullptr; }
        float* gradient(ParameterId id) const { return id ? parameters.device_gradient(id) : nullptr; }
    };
    Shared shared_of(const Lowering& lowering) const {
        return {lowering.parameters(), lowering.parameter(0), options_.bias ? lowering.parameter(1) : ParameterId{}};
    }

    LinearOptions options_;
};

}  // namespace

Tensor linear(Tensor x, const LinearOptions& options) {
    LinearOptions named = options;
    if (named.name.empty()) named.name = x.graph->fresh_name("linear");
    return x.graph->add_one(std::make_shared<LinearOperation>(std::move(named)), {x});
}

}  // namespace iwseg
