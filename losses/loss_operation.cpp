#include "losses/loss_operation.h"

#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"
#include "kernels/device/backend.h"
#include "losses/loss_passes.h"

namespace iwseg {
namespace {

class LossOperation final : public Operation {
  public:
    LossOperation(std::string name, const Loss& loss, std::shared_ptr<const LossTargets> targets)
        : name_(std::move(name)), passes_(loss_passes(loss)), targets_(std::move(targets)) {}

    std::string name() const override { return name_; }
    FormRule form_rule() const override { return FormRule::plain; }
    Form output_form(int, const Form&, const Form&) const override { return {Type::f64, Layout::ncdhw}; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        if (inputs.at(0).c != 1)
            throw std::invalid_argument(name_ + ": expected logits of one channel, not " + text_of(inputs[0]));
        return {Shape{}};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer logit = lowering.input(0), value = lowering.output();
        const std::int64_t bytes = lowering.device().loss_scratch_bytes(lowering.program()[logit].shape);
        std::vector<Buffer> of_passes;
        for (const LossPass& pass : passes_) {
            const Buffer sums = lowering.program().add_bytes(name_ + " sums", bytes);
            const Write write = of_passes.empty() ? Write::overwrite : Write::accumulate;
            std::vector<Buffer> reads{logit};
            if (write == Write::accumulate) reads.push_back(value);
            of_passes.push_back(sums);
            lowering.add({name_, "loss", reads, {sums, value}, [=, targets = targets_](const Plan& plan) {
                              plan.device().loss_value(plan.stream(), pass, input(plan[logit], *targets),
                                                       plan[sums].data, plan.data<double>(value), write);
                          }});
        }
        lowering.state() = std::move(of_passes);
    }

    void backward(const Lowering& lowering) const override {
        const Buffer logit = lowering.input(0);
        const auto& of_passes = std::any_cast<const std::vector<Buffer>&>(lowering.state());
        GradientDestination to = lowering.input_gradient(0);
        for (std::size_t i = 0; i < passes_.size(); ++i) {
            const Buffer sums = of_passes[i];
            std::vector<Buffer> reads{logit, sums};
            if (to.write == Write::accumulate) reads.push_back(to.buffer);
            lowering.add({name_ + " gradient",
                          "loss gradient",
                          reads,
                          {to.buffer},
                          [=, pass = passes_[i], targets = targets_](const Plan& plan) {
                              plan.device().loss_gradient(plan.stream(), pass, input(plan[logit], *targets),
                                                          plan[sums].data, plan[to.buffer], to.write);
                          }});
            to.write = Write::accumulate;
        }
    }

  private:
    static LossInput input(const View& logit, const LossTargets& targets) {
        return {logit, targets.target, targets.labels, targets.weights, targets.stride};
    }

    std::string name_;
    std::vector<LossPass> passes_;
    std::shared_ptr<const LossTargets> targets_;
};

}  // namespace

Tensor loss(Tensor logit, const Loss& loss, std::shared_ptr<const LossTargets> targets) {
    Graph& graph = *logit.graph;
    auto operation = std::make_shared<LossOperation>(graph.fresh_name("loss"), loss, std::move(targets));
    return graph.add_one(std::move(operation), {logit});
}

}  // namespace iwseg
