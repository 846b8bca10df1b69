#include "engine/ops/upsample.h"

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class UpsampleOperation final : public Operation {
  public:
    explicit UpsampleOperation(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        const Shape& x = inputs.at(0);
        return {{x.n, x.c, 2 * x.d, 2 * x.h, 2 * x.w}};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        lowering.add({name_, "upsample", {x}, {y}, [=](const Plan& plan) {
                          plan.device().upsample(plan.stream(), plan[x], plan[y]);
                      }});
    }

    void backward(const Lowering& lowering) const override {
        if (!lowering.wants_gradient(0)) return;
        const Buffer diff_y = lowering.output_gradient();
        const auto [diff_x, write] = lowering.input_gradient(0);
        Call call{name_ + " backward", "upsample backward", {diff_y}, {diff_x}, {}};
        call.run = [=, diff_x = diff_x, write = write](const Plan& plan) {
            plan.device().upsample_backward(plan.stream(), plan[diff_y], plan[diff_x], write);
        };
        if (write == Write::accumulate) call.reads.push_back(diff_x);
        lowering.add(std::move(call));
    }

  private:
    std::string name_;
};

}  // namespace

Tensor upsample(Tensor x) {
    return x.graph->add_one(std::make_shared<UpsampleOperation>(x.graph->fresh_name("upsample")), {x});
}

}  // namespace iwseg
