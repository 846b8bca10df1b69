#include "engine/ops/average_pool.h"

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/pool_window.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class AveragePoolOperation final : public Operation {
  public:
    AveragePoolOperation(std::string name, const Sides& window) : name_(std::move(name)), window_(window) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        return {pooled(inputs.at(0), window_, "average_pool")};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        lowering.add({name_, "average pool", {x}, {y}, [=, share = share()](const Plan& plan) {
                          plan.device().sum_windows(plan.stream(), plan[x], share, plan[y], Write::overwrite);
                      }});
    }

    void backward(const Lowering& lowering) const override {
        if (!lowering.wants_gradient(0)) return;
        const Buffer diff_y = lowering.output_gradient();
        const GradientDestination to = lowering.input_gradient(0);
        Call call{name_ + " backward", "average pool backward", {diff_y}, {to.buffer}, {}};
        call.run = [=, share = share()](const Plan& plan) {
            plan.device().spread_windows(plan.stream(), plan[diff_y], share, plan[to.buffer], to.write);
        };
        if (to.write == Write::accumulate) call.reads.push_back(to.buffer);
        lowering.add(std::move(call));
    }

  private:
    float share() const { return 1.0f / static_cast<float>(window_.d * window_.h * window_.w); }

    std::string name_;
    Sides window_;
};

}  // namespace

Tensor average_pool(Tensor x, const Sides& window) {
    return x.graph->add_one(std::make_shared<AveragePoolOperation>(x.graph->fresh_name("average_pool"), window), {x});
}

}  // namespace iwseg
