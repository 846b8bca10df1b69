#include "engine/ops/global_average_pool.h"

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class GlobalAveragePoolOperation final : public Operation {
  public:
    explicit GlobalAveragePoolOperation(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        return {{inputs.at(0).n, inputs[0].c, 1, 1, 1}};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        const BufferSpec& spec = lowering.program()[x];
        const Buffer sums =
            lowering.scratch(lowering.device().channel_mean_scratch_bytes(spec.shape, spec.form.layout));
        lowering.add({name_, "global average pool", {x}, {y, sums}, [=](const Plan& plan) {
                          plan.device().channel_mean(plan.stream(), plan[x], plan[y], plan[sums].data);
                      }});
    }

    void backward(const Lowering& lowering) const override {
        if (!lowering.wants_gradient(0)) return;
        const Buffer diff_y = lowering.output_gradient();
        const GradientDestination to = lowering.input_gradient(0);
        const float share = 1.0f / static_cast<float>(lowering.program()[to.buffer].shape.voxels());
        Call call{name_ + " backward", "global average pool backward", {diff_y}, {to.buffer}, {}};
        call.run = [=](const Plan& plan) {
            plan.device().spread_windows(plan.stream(), plan[diff_y], share, plan[to.buffer], to.write);
        };
        if (to.write == Write::accumulate) call.reads.push_back(to.buffer);
        lowering.add(std::move(call));
    }

  private:
    std::string name_;
};

}  // namespace

Tensor global_average_pool(Tensor x) {
    return x.graph->add_one(std::make_shared<GlobalAveragePoolOperation>(x.graph->fresh_name("global_average_pool")),
                            {x});
}

}  // namespace iwseg
