#include "losses/loss_operation.h"

#include <stdexcept>
#include <utility>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/ops/pass_gradient.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class LossOperation final : public Operation {
  public:
    LossOperation(std::string name, const LossParameters& parameters, std::shared_ptr<const LossTargets> targets)
        : name_(std::move(name)), parameters_(parameters), targets_(std::move(targets)) {}

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
        const Shape shape = lowering.program()[logit].shape;
        const Buffer sums =
            lowering.program().add_bytes(name_ + " sums", lowering.device().loss_scratch_bytes(parameters_, shape));
        lowering.state() = sums;
        lowering.add({name_,
                      "loss",
                      {logit},
                      {sums, value},
                      [=, parameters = parameters_, targets = targets_](const Plan& plan) {
                          plan.device().loss_value(plan.stream(), parameters, input(plan[logit], *targets),
                                                   plan[sums].data, plan.data<double>(value));
                      }});
    }

    void backward(const Lowering& lowering) const override {
        const Buffer logit = lowering.input(0), sums = std::any_cast<Buffer>(lowering.state());
        const GradientDestination to = lowering.input_gradient(0);
        Buffer part = to.buffer;
        if (to.write == Write::accumulate) {
            BufferSpec spec = lowering.program()[part];
            spec.name += ", one part";
            part = lowering.program().add(spec);
        }
        lowering.add({name_ + " gradient",
                      "loss gradient",
                      {logit, sums},
                      {part},
                      [=, parameters = parameters_, targets = targets_](const Plan& plan) {
                          plan.device().loss_gradient(plan.stream(), parameters, input(plan[logit], *targets),
                                                      plan[sums].data, plan[part]);
                      }});
        if (to.write == Write::accumulate) pass_gradient(lowering, "gradient sum", part, to);
    }

  private:
    static LossInput input(const View& logit, const LossTargets& targets) {
        return {logit, targets.target, targets.labels, targets.weights, targets.stride};
    }

    std::string name_;
    LossParameters parameters_;
    std::shared_ptr<const LossTargets> targets_;
};

}  // namespace

Tensor loss(Tensor logit, const LossParameters& parameters, std::shared_ptr<const LossTargets> targets) {
    Graph& graph = *logit.graph;
    auto operation = std::make_shared<LossOperation>(graph.fresh_name("loss"), parameters, std::move(targets));
    return graph.add_one(std::move(operation), {logit});
}

}  // namespace iwseg
