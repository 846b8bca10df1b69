#include "engine/ops/max_pool.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class MaxPoolOperation final : public Operation {
  public:
    explicit MaxPoolOperation(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        const Shape& x = inputs.at(0);
        if (x.d % 2 || x.h % 2 || x.w % 2)
            throw std::invalid_argument(
                "max_pool: expected even sizes; a network of three halvings takes multiples of 8");
        return {{x.n, x.c, x.d / 2, x.h / 2, x.w / 2}};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        lowering.add({name_, "max pool", {x}, {y}, [=](const Plan& plan) {
                          plan.device().max_pool(plan.stream(), plan[x], plan[y]);
                      }});
    }

    void backward(const Lowering& lowering) const override {
        if (!lowering.wants_gradient(0)) return;
        const Buffer diff_y = lowering.output_gradient(), x = lowering.value(0);
        const auto [diff_x, write] = lowering.input_gradient(0);
        Call call{name_ + " backward", "max pool backward", {x, diff_y}, {diff_x}, {}};
        call.run = [=, diff_x = diff_x, write = write](const Plan& plan) {
            plan.device().max_pool_backward(plan.stream(), plan[x], plan[diff_y], plan[diff_x], write);
        };
        if (write == Write::accumulate) call.reads.push_back(diff_x);
        lowering.add(std::move(call));
    }

  private:
    std::string name_;
};

}  // namespace

Tensor max_pool(Tensor x) {
    return x.graph->add_one(std::make_shared<MaxPoolOperation>(x.graph->fresh_name("max_pool")), {x});
}

}  // namespace iwseg
