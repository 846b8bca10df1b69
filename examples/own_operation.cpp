// An operation that iwseg does not have, written outside of it, in a network that learns to find bright cubes in noise.
#include <cmath>
#include <memory>

#include "made_up_lesions.h"

using namespace iwseg;

/// y = log(1 + exp(x)), on the CPU alone.
class SoftplusOperation final : public Operation {
  public:
    explicit SoftplusOperation(std::string name) : name_(std::move(name)) {}
    std::string name() const override { return name_; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return {inputs.at(0)}; }
    FormRule form_rule() const override { return FormRule::plain; }  // f32, channels outermost

    void prepare(const Lowering& lowering) const override {
        if (!lowering.device().host_memory) throw InputError(name_ + " is computed on the CPU only");
    }
    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        lowering.add({name_, "softplus", {x}, {y}, [=](const Plan& plan) {
                          for (std::int64_t i = 0; i < plan[x].shape.elements(); ++i)
                              plan.data<float>(y)[i] = std::log1p(std::exp(plan.data<float>(x)[i]));
                      }});
    }
    void backward(const Lowering& lowering) const override {
        const Buffer x = lowering.value(0), diff_y = lowering.output_gradient();
        const auto [diff_x, write] = lowering.input_gradient(0);
        Call call{name_ + " backward", "softplus backward", {x, diff_y}, {diff_x}, {}};
        if (write == Write::accumulate) call.reads.push_back(diff_x);
        call.run = [=, diff_x = diff_x, write = write](const Plan& plan) {
            for (std::int64_t i = 0; i < plan[x].shape.elements(); ++i) {
                const float d = plan.data<float>(diff_y)[i] / (1 + std::exp(-plan.data<float>(x)[i]));
                float& to = plan.data<float>(diff_x)[i];
                to = write == Write::accumulate ? to + d : d;
            }
        };
        lowering.add(std::move(call));
    }

  private:
    std::string name_;
};

Tensor softplus(Tensor x) {
    return x.graph->add_one(std::make_shared<SoftplusOperation>(x.graph->fresh_name("softplus")), {x});
}

Tensor network(Tensor x) {
    x = softplus(instance_norm(conv(x, {.channels = 8})));
    return conv(x, {.channels = 1, .kernel = 1});
}

int main() try {
    constexpr Shape kInput{2, 1, 12, 12, 12};
    Trainer trainer(Context({.device = "cpu"}), network, dice() + bce(), AdamW{}, {.input = kInput});
    std::puts(trainer.description().c_str());
    MadeUpLesions lesions(kInput);
    double first = 0, last = 0;
    for (int step = 0; step < 100; ++step) {
        const auto [image, target] = lesions.next_batch();
        last = trainer.step(image, target, {.rate = 0.03f});
        if (step == 0) first = last;
    }
    std::printf("loss %.3f before, %.3f after\n", first, last);
    return last < 0.5 * first ? 0 : 1;
} catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
}
