#include "engine/ops/dropout.h"

#include <cmath>
#include <stdexcept>
#include <string>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/pass_gradient.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

/// A number for a layer's name (FNV-1a): the same in every run.
std::uint32_t hash_of(const std::string& name) {
    std::uint32_t hash = 2166136261u;
    for (const char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 16777619u;
    return hash;
}

class DropoutOperation final : public Operation {
  public:
    DropoutOperation(std::string name, float rate, std::shared_ptr<const DropoutSource> source)
        : name_(std::move(name)), rate_(rate), source_(std::move(source)) {
        if (!(rate >= 0 && rate < 1))
            throw std::invalid_argument(name_ + ": a rate of " + std::to_string(rate) +
                                        ", expected one from 0 to below 1");
    }
    std::string name() const override { return name_; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return {inputs.at(0)}; }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        if (!drops(lowering)) return convert(lowering, name_, x, y);
        add_call(lowering, name_, "dropout", x, {y, Write::overwrite});
    }

    void backward(const Lowering& lowering) const override {
        if (!lowering.wants_gradient(0)) return;
        const Buffer diff_y = lowering.output_gradient();
        const GradientDestination to = lowering.input_gradient(0);
        if (!drops(lowering)) return pass_gradient(lowering, "backward", diff_y, to);
        add_call(lowering, name_ + " backward", "dropout backward", diff_y, to);
    }

  private:
    bool drops(const Lowering& lowering) const { return lowering.training() && rate_ > 0; }

    void add_call(const Lowering& lowering, const std::string& name, const std::string& kind, Buffer from,
                  const GradientDestination& to) const {
        DropoutMask mask;
        mask.layer = hash_of(name_);
        mask.threshold = static_cast<std::uint32_t>(std::min(std::round(rate_ * 0x1p32), 0x1p32 - 1));
        mask.scale = 1 / (1 - rate_);
        Call call{name, kind, {from}, {to.buffer}, {}};
        call.run = [=, layer = name_, source = source_](const Plan& plan) {
            if (!source->seed_and_step)
                throw std::logic_error("a plan is run before the seed and step of " + layer + " are set");
            DropoutMask drawn = mask;
            drawn.seed_and_step = source->seed_and_step;
            plan.device().dropout(plan.stream(), plan[from], drawn, plan[to.buffer], to.write);
        };
        if (to.write == Write::accumulate)
            call.reads.push_back(to.buffer);
        else
            call.in_place = {from, to.buffer};
        lowering.add(std::move(call));
    }

    std::string name_;
    float rate_;
    std::shared_ptr<const DropoutSource> source_;
};

}  // namespace

Tensor dropout(Tensor x, float rate, std::shared_ptr<const DropoutSource> source) {
    return x.graph->add_one(std::make_shared<DropoutOperation>(x.graph->fresh_name("dropout"), rate, std::move(source)),
                            {x});
}

}  // namespace iwseg
