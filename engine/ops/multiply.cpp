#include "engine/ops/multiply.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class MultiplyOperation final : public Operation {
  public:
    explicit MultiplyOperation(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        const Shape &a = inputs.at(0), &b = inputs.at(1);
        if (!(a == b))
            throw std::invalid_argument("multiply: tensors of the shapes " + text_of(a) + " and " + text_of(b));
        return {a};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer a = lowering.input(0), b = lowering.input(1), y = lowering.output();
        Call call{name_, "multiply", {a, b}, {y}, {}};
        call.in_place = {a, y};
        call.run = [=](const Plan& plan) {
            plan.device().multiply(plan.stream(), plan[a], plan[b], plan[y], Write::overwrite);
        };
        lowering.add(std::move(call));
    }

    void backward(const Lowering& lowering) const override {
        const Buffer diff_y = lowering.output_gradient();
        for (int input = 0; input < 2; ++input) {
            if (!lowering.wants_gradient(input)) continue;
            const Buffer other = lowering.value(1 - input);
            const GradientDestination to = lowering.input_gradient(input);
            Call call{
                name_ + " backward " + std::to_string(input), "multiply backward", {diff_y, other}, {to.buffer}, {}};
            call.run = [=](const Plan& plan) {
                plan.device().multiply(plan.stream(), plan[diff_y], plan[other], plan[to.buffer], to.write);
            };
            if (to.write == Write::accumulate) call.reads.push_back(to.buffer);
            lowering.add(std::move(call));
        }
    }

  private:
    std::string name_;
};

}  // namespace

Tensor multiply(Tensor a, Tensor b) {
    return a.graph->add_one(std::make_shared<MultiplyOperation>(a.graph->fresh_name("multiply")), {a, b});
}

}  // namespace iwseg
