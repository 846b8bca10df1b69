#include "engine/ops/max_pool.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/pool_window.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class MaxPoolOperation final : public Operation {
  public:
    MaxPoolOperation(std::string name, const Sides& window) : name_(std::move(name)), window_(window) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        for (const int side : {window_.d, window_.h, window_.w})
            if (side > 3)
                throw std::invalid_argument("max_pool: a window of " + std::to_string(side) +
                                            " voxels along an axis, expected 1 to 3");
        return {pooled(inputs.at(0), window_, "max_pool")};
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
    Sides window_;
};

}  // namespace

Tensor max_pool(Tensor x, const Sides& window) {
    return x.graph->add_one(std::make_shared<MaxPoolOperation>(x.graph->fresh_name("max_pool"), window), {x});
}

}  // namespace iwseg
