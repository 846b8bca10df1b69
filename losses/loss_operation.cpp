#include "losses/loss_operation.h"

#include <any>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"
#include "losses/class_loss_program.h"
#include "losses/loss_program.h"

namespace iwseg {
namespace {

class LossOperation final : public Operation {
  public:
    LossOperation(std::string name, const Loss& loss, std::shared_ptr<const LossTargets> targets)
        : name_(std::move(name)), loss_(loss), targets_(std::move(targets)) {}

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
        const auto program = std::make_shared<const LossProgram>(
            loss_, lowering.device(), lowering.program()[logit].shape, targets_->label_bound);
        const Buffer sums = lowering.program().add_bytes(name_ + " sums", program->scratch_bytes());
        lowering.add({name_, "loss", {logit}, {sums, value}, [=, targets = targets_](const Plan& plan) {
                          program->value(plan.stream(), input(plan[logit], *targets), plan[sums].data,
                                         plan.data<double>(value));
                      }});
        lowering.state() = Computed{program, sums};
    }

    void backward(const Lowering& lowering) const override {
        const Buffer logit = lowering.input(0);
        const auto [program, sums] = std::any_cast<const Computed&>(lowering.state());
        const GradientDestination to = lowering.input_gradient(0);
        std::vector<Buffer> reads{logit, sums};
        if (to.write == Write::accumulate) reads.push_back(to.buffer);
        lowering.add({name_ + " gradient",
                      "loss gradient",
                      reads,
                      {to.buffer},
                      [=, program = program, sums = sums, targets = targets_](const Plan& plan) {
                          program->gradient(plan.stream(), input(plan[logit], *targets), plan[sums].data,
                                            plan[to.buffer], to.write);
                      }});
    }

  private:
    /// What the forward pass leaves for the backward pass.
    struct Computed {
        std::shared_ptr<const LossProgram> program;
        Buffer sums;
    };

    static LossInput input(const View& logit, const LossTargets& targets) {
        return {logit, targets.target, targets.labels, targets.weights, targets.stride, nullptr, targets.step};
    }

    std::string name_;
    Loss loss_;
    std::shared_ptr<const LossTargets> targets_;
};

class ClassLossOperation final : public Operation {
  public:
    ClassLossOperation(std::string name, const Loss& loss, const ClassLossOptions& classes,
                       std::shared_ptr<const LossTargets> targets)
        : name_(std::move(name)), loss_(loss), classes_(classes), targets_(std::move(targets)) {}

    std::string name() const override { return name_; }
    FormRule form_rule() const override { return FormRule::plain; }
    Form output_form(int, const Form&, const Form&) const override { return {Type::f64, Layout::ncdhw}; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        require_class_logits(classes_.channels, {nullptr, inputs.at(0)}, name_.c_str());
        return {Shape{}};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer logit = lowering.input(0), value = lowering.output();
        const auto program = std::make_shared<const ClassLossProgram>(loss_, classes_, lowering.device(),
                                                                      lowering.program()[logit].shape);
        const Buffer sums = lowering.program().add_bytes(name_ + " sums", program->scratch_bytes());
        lowering.add({name_, "loss", {logit}, {sums, value}, [=, targets = targets_](const Plan& plan) {
                          program->value(plan.stream(), plan[logit], targets->labels, targets->step, plan[sums].data,
                                         plan.data<double>(value));
                      }});
        lowering.state() = Computed{program, sums};
    }

    void backward(const Lowering& lowering) const override {
        const Buffer logit = lowering.input(0);
        const auto [program, sums] = std::any_cast<const Computed&>(lowering.state());
        const GradientDestination to = lowering.input_gradient(0);
        std::vector<Buffer> reads{logit, sums};
        if (to.write == Write::accumulate) reads.push_back(to.buffer);
        lowering.add({name_ + " gradient",
                      "loss gradient",
                      reads,
                      {sums, to.buffer},
                      [=, program = program, sums = sums, targets = targets_](const Plan& plan) {
                          program->gradient(plan.stream(), plan[logit], targets->step, plan[sums].data, plan[to.buffer],
                                            to.write);
                      }});
    }

  private:
    struct Computed {
        std::shared_ptr<const ClassLossProgram> program;
        Buffer sums;
    };

    std::string name_;
    Loss loss_;
    ClassLossOptions classes_;
    std::shared_ptr<const LossTargets> targets_;
};

}  // namespace

Tensor loss(Tensor logit, const Loss& loss, const ClassLossOptions& classes,
            std::shared_ptr<const LossTargets> targets) {
    Graph& graph = *logit.graph;
    auto operation = std::make_shared<ClassLossOperation>(graph.fresh_name("loss"), loss, classes, std::move(targets));
    return graph.add_one(std::move(operation), {logit});
}

Tensor loss(Tensor logit, const Loss& loss, std::shared_ptr<const LossTargets> targets) {
    Graph& graph = *logit.graph;
    auto operation = std::make_shared<LossOperation>(graph.fresh_name("loss"), loss, std::move(targets));
    return graph.add_one(std::move(operation), {logit});
}

}  // namespace iwseg
