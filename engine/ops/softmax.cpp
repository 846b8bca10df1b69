#include "engine/ops/softmax.h"

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class SoftmaxOperation final : public Operation {
  public:
    explicit SoftmaxOperation(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return {inputs.at(0)}; }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        Call call{name_, "softmax", {x}, {y}, {}};
        call.in_place = {x, y};
        call.run = [=](const Plan& plan) { plan.device().softmax(plan.stream(), plan[x], plan[y]); };
        lowering.add(std::move(call));
    }

    void backward(const Lowering& lowering) const override {
        if (!lowering.wants_gradient(0)) return;
        const Buffer y = lowering.output(), diff_y = lowering.output_gradient();
        const GradientDestination to = lowering.input_gradient(0);
        Call call{name_ + " backward", "softmax backward", {y, diff_y}, {to.buffer}, {}};
        call.run = [=](const Plan& plan) {
            plan.device().softmax_backward(plan.stream(), plan[y], plan[diff_y], plan[to.buffer], to.write);
        };
        if (to.write == Write::accumulate)
            call.reads.push_back(to.buffer);
        else
            call.in_place = {diff_y, to.buffer};
        lowering.add(std::move(call));
    }

  private:
    std::string name_;
};

}  // namespace

Tensor softmax(Tensor x) {
    return x.graph->add_one(std::make_shared<SoftmaxOperation>(x.graph->fresh_name("softmax")), {x});
}

}  // namespace iwseg
