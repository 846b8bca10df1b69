#include "losses/loss_operation.h"

#include <any>
#include <cstdint>
#include <functional>
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

/// A loss ready to be computed for logits of one shape, of one channel or several: what the two programs have alike.
struct Computed {
    std::int64_t scratch_bytes;
    std::function<void(Stream stream, View logit, void* scratch, double* value)> value;
    std::function<void(Stream stream, View logit, void* scratch, View diff_logit, Write write)> gradient;
};

class LossOperation : public Operation {
  public:
    explicit LossOperation(std::string name) : name_(std::move(name)) {}

    std::string name() const override { return name_; }
    FormRule form_rule() const override { return FormRule::plain; }
    Form output_form(int, const Form&, const Form&) const override { return {Type::f64, Layout::ncdhw}; }

    void forward(const Lowering& lowering) const override {
        const Buffer logit = lowering.input(0), value = lowering.output();
        const auto computed =
            std::make_shared<const Computed>(program(lowering.device(), lowering.program()[logit].shape));
        const Buffer sums = lowering.program().add_bytes(name_ + " sums", computed->scratch_bytes);
        lowering.add({name_, "loss", {logit}, {sums, value}, [=](const Plan& plan) {
                          computed->value(plan.stream(), plan[logit], plan[sums].data, plan.data<double>(value));
                      }});
        lowering.state() = Kept{computed, sums};
    }

    void backward(const Lowering& lowering) const override {
        const Buffer logit = lowering.input(0);
        const auto [computed, sums] = std::any_cast<const Kept&>(lowering.state());
        const GradientDestination to = lowering.input_gradient(0);
        std::vector<Buffer> reads{logit, sums};
        if (to.write == Write::accumulate) reads.push_back(to.buffer);
        lowering.add({name_ + " gradient",
                      "loss gradient",
                      reads,
                      {sums, to.buffer},
                      [=, computed = computed, sums = sums](const Plan& plan) {
                          computed->gradient(plan.stream(), plan[logit], plan[sums].data, plan[to.buffer], to.write);
                      }});
    }

  protected:
    virtual Computed program(const Backend& device, const Shape& logit) const = 0;

  private:
    /// What the forward pass leaves for the backward pass.
    struct Kept {
        std::shared_ptr<const Computed> computed;
        Buffer sums;
    };

    std::string name_;
};

class LesionLoss final : public LossOperation {
  public:
    LesionLoss(std::string name, const Loss& loss, std::shared_ptr<const LossTargets> targets, double* terms)
        : LossOperation(std::move(name)), loss_(loss), targets_(std::move(targets)), terms_(terms) {}

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        if (inputs.at(0).c != 1)
            throw std::invalid_argument(name() + ": expected logits of one channel, not " + text_of(inputs[0]));
        return {Shape{}};
    }

  private:
    Computed program(const Backend& device, const Shape& logit) const override {
        const auto made = std::make_shared<const LossProgram>(loss_, device, logit, targets_->label_bound);
        const auto input = [targets = targets_](View logits) {
            return LossInput{logits,          targets->target, targets->labels, targets->weights,
                             targets->stride, nullptr,         targets->step};
        };
        return {made->scratch_bytes(),
                [=, terms = terms_](Stream stream, View logits, void* scratch, double* value) {
                    made->value(stream, input(logits), scratch, value, Write::overwrite, terms);
                },
                [=](Stream stream, View logits, void* scratch, View diff_logits, Write write) {
                    made->gradient(stream, input(logits), scratch, diff_logits, write);
                }};
    }

    Loss loss_;
    std::shared_ptr<const LossTargets> targets_;
    double* terms_;
};

class ClassLoss final : public LossOperation {
  public:
    ClassLoss(std::string name, const Loss& loss, const ClassLossOptions& classes,
              std::shared_ptr<const LossTargets> targets, double* terms)
        : LossOperation(std::move(name)), loss_(loss), classes_(classes), targets_(std::move(targets)), terms_(terms) {}

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        require_class_logits(classes_.channels, {nullptr, inputs.at(0)}, name().c_str());
        return {Shape{}};
    }

  private:
    Computed program(const Backend& device, const Shape& logit) const override {
        const auto made = std::make_shared<const ClassLossProgram>(loss_, classes_, device, logit);
        return {made->scratch_bytes(),
                [=, targets = targets_, terms = terms_](Stream stream, View logits, void* scratch, double* value) {
                    made->value(stream, logits, targets->labels, targets->step, scratch, value, terms);
                },
                [=, targets = targets_](Stream stream, View logits, void* scratch, View diff_logits, Write write) {
                    made->gradient(stream, logits, targets->step, scratch, diff_logits, write);
                }};
    }

    Loss loss_;
    ClassLossOptions classes_;
    std::shared_ptr<const LossTargets> targets_;
    double* terms_;
};

}  // namespace

Tensor loss(Tensor logit, const Loss& loss, const ClassLossOptions& classes, std::shared_ptr<const LossTargets> targets,
            double* terms) {
    Graph& graph = *logit.graph;
    auto operation = std::make_shared<ClassLoss>(graph.fresh_name("loss"), loss, classes, std::move(targets), terms);
    return graph.add_one(std::move(operation), {logit});
}

Tensor loss(Tensor logit, const Loss& loss, std::shared_ptr<const LossTargets> targets, double* terms) {
    Graph& graph = *logit.graph;
    auto operation = std::make_shared<LesionLoss>(graph.fresh_name("loss"), loss, std::move(targets), terms);
    return graph.add_one(std::move(operation), {logit});
}

}  // namespace iwseg
