#include "engine/ops/prelu.h"

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class PreluOperation final : public Operation {
  public:
    explicit PreluOperation(PreluOptions options) : options_(std::move(options)) {}
    std::string name() const override { return options_.name; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return {inputs.at(0)}; }
    std::vector<ParameterSpec> parameters(const std::vector<Shape>& inputs) const override {
        return {{name() + ".weight", {slopes_of(inputs.at(0))}, Initial::constant(options_.slope)}};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        Call call{name(), "prelu", {x}, {y}, {}};
        call.in_place = {x, y};
        call.run = [=, parameters = lowering.parameters(), slope = lowering.parameter(0),
                    count = slopes_of(lowering.program()[x].shape)](const Plan& plan) {
            plan.device().prelu(plan.stream(), plan[x], parameters.device_value(slope), count, plan[y]);
        };
        lowering.add(std::move(call));
    }

    void backward(const Lowering& lowering) const override {
        const Buffer x = lowering.value(0), diff_y = lowering.output_gradient();
        const BufferSpec& spec = lowering.program()[x];
        const std::int64_t count = slopes_of(spec.shape);
        const Buffer sums =
            lowering.scratch(lowering.device().prelu_scratch_bytes(spec.shape, spec.form.layout, count));
        Call call{name() + " backward", "prelu backward", {x, diff_y}, {sums}, {}};
        GradientDestination to;
        const bool wanted = lowering.wants_gradient(0);
        if (wanted) {
            to = lowering.input_gradient(0);
            call.writes.push_back(to.buffer);
            if (to.write == Write::accumulate)
                call.reads.push_back(to.buffer);
            else
                call.in_place = {diff_y, to.buffer};
        }
        call.run = [=, parameters = lowering.parameters(), slope = lowering.parameter(0)](const Plan& plan) {
            plan.device().prelu_backward(plan.stream(), plan[x], plan[diff_y], parameters.device_value(slope), count,
                                         wanted ? plan[to.buffer] : View{}, to.write, parameters.device_gradient(slope),
                                         plan[sums].data);
        };
        lowering.add(std::move(call));
    }

  private:
    std::int64_t slopes_of(const Shape& x) const { return options_.per_channel ? x.c : 1; }

    PreluOptions options_;
};

}  // namespace

Tensor prelu(Tensor x, const PreluOptions& options) {
    PreluOptions named = options;
    if (named.name.empty()) named.name = x.graph->fresh_name("prelu");
    return x.graph->add_one(std::make_shared<PreluOperation>(std::move(named)), {x});
}

}  // namespace iwseg
