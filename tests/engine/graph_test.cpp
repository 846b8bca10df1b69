// Graphs as a program's own: an operation from outside the engine, several losses, what is kept, and calls that cannot
// be forgotten.
#include "engine/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/compile.h"
#include "engine/device_memory.h"
#include "engine/initialisation.h"
#include "engine/lowering.h"
#include "engine/ops/add.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/conv.h"
#include "engine/ops/max_pool.h"
#include "engine/ops/relu.h"
#include "engine/ops/upsample.h"
#include "engine/plan.h"
#include "losses/loss.h"
#include "losses/loss_operation.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

/// y = factor x, by the engine's sums alone: an operation as somebody else would write it.
class TimesOperation final : public Operation {
  public:
    explicit TimesOperation(int factor) : factor_(factor) {}
    std::string name() const override { return "times"; }
    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override { return {inputs.at(0)}; }
    void forward(const Lowering& lowering) const override {
        multiply(lowering, lowering.input(0), lowering.output(), "times");
    }
    void backward(const Lowering& lowering) const override {
        const GradientDestination to = lowering.input_gradient(0);
        ASSERT_EQ(to.write, Write::overwrite);
        multiply(lowering, lowering.output_gradient(), to.buffer, "times backward");
    }

  private:
    void multiply(const Lowering& lowering, Buffer from, Buffer to, const std::string& name) const {
        lowering.add({name, "times", {from}, {to}, [=, factor = factor_](const Plan& plan) {
                          plan.device().copy(plan.stream(), plan[from], plan[to]);
                          for (int i = 1; i < factor; ++i) plan.device().add(plan.stream(), plan[from], plan[to]);
                      }});
    }
    int factor_;
};

Tensor times(Tensor x, int factor) {
    return x.graph->add_one(std::make_shared<TimesOperation>(factor), {x});
}

/// What a test's network reads, on the device.
class Inputs {
  public:
    Inputs(const Context& context, const Shape& shape, unsigned seed)
        : image_(context.backend(), shape.elements() * 4), target_(context.backend(), shape.n * shape.voxels()) {
        std::mt19937 random(seed);
        std::vector<float> image(static_cast<std::size_t>(shape.elements()));
        std::vector<std::uint8_t> target(static_cast<std::size_t>(shape.n * shape.voxels()));
        for (float& value : image) value = std::normal_distribution<float>()(random);
        for (std::size_t v = 0; v < target.size(); ++v) target[v] = image[v] > 0.7f;
        const Backend& device = context.backend();
        device.copy_to_device(context.stream(), image.data(), image_.data(), image_.bytes());
        device.copy_to_device(context.stream(), target.data(), target_.data(), target_.bytes());
        device.synchronise(context.stream());
        targets_->target = reinterpret_cast<const std::uint8_t*>(target_.data());
    }
    void* image() const { return image_.data(); }
    std::shared_ptr<const LossTargets> targets() const { return targets_; }

  private:
    DeviceMemory image_, target_;
    std::shared_ptr<LossTargets> targets_ = std::make_shared<LossTargets>();
};

constexpr Shape kShape{2, 1, 4, 6, 8};
const Loss kBce = loss_from_name("bce");

class Graphs : public testing::TestWithParam<TestBackend> {
  protected:
    Graphs() : seed_(std::random_device{}()), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
        context_.emplace(backend_of(GetParam()), ContextOptions{.threads = 1});
    }

    /// Loss and gradients of one step from weights of the seed.
    struct Result {
        double loss = 0;
        std::vector<float> gradients;
    };
    template <class Losses>
    Result step(Losses&& losses, bool bf16 = false) {
        const Inputs inputs(*context_, kShape, seed_);
        Graph graph;
        const Tensor image = graph.input("image", kShape);
        const std::vector<Tensor> minimised = losses(image, inputs.targets());
        Parameters parameters;
        Compiled made = compile(graph, *context_, parameters, {.training = true, .bf16 = bf16, .minimise = minimised});
        parameters.place(context_->backend(), context_->stream(), true);
        initialise(*context_, parameters, seed_);
        const Buffer seen = made[image];
        std::vector<Buffer> values;
        for (const Tensor loss : minimised) values.push_back(made[loss]);
        Plan plan(*context_, made.program);
        plan.bind(seen, inputs.image());
        plan.run();
        Result result;
        for (const Buffer buffer : values) {
            double value = 0;
            plan.read(buffer, &value);
            result.loss += value;
        }
        parameters.download();
        result.gradients = parameters.gradients();
        return result;
    }

    unsigned seed_;
    testing::ScopedTrace trace_;
    std::optional<Context> context_;
};

Tensor small_network(Tensor x) {
    x = relu(batch_norm(conv(x, {.channels = 5, .name = "a"}), {.name = "a.norm"}));
    return conv(x, {.channels = 1, .kernel = 1, .name = "b"});
}

// Sums of f32 in another order: 1e-5 of the largest.
void expect_close(const std::vector<float>& a, const std::vector<float>& b) {
    ASSERT_EQ(a.size(), b.size());
    float largest = 0;
    for (const float value : b) largest = std::max(largest, std::abs(value));
    EXPECT_GT(largest, 0);
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5 * largest) << "element " << i;
}

TEST_P(Graphs, AnOperationFromOutsideTheEngineTakesPartInTraining) {
    const auto with = [](int factor, bool as_operation) {
        return [=](Tensor image, auto targets) -> std::vector<Tensor> {
            const Tensor x = small_network(image);
            if (as_operation) return {loss(times(x, factor), kBce, targets)};
            Tensor sum = x;
            for (int i = 1; i < factor; ++i) sum = add(sum, x);
            return {loss(sum, kBce, targets)};
        };
    };
    const Result own = step(with(3, true)), sums = step(with(3, false)), once = step(with(1, true));
    EXPECT_NEAR(own.loss, sums.loss, 1e-6 * sums.loss);
    expect_close(own.gradients, sums.gradients);
    EXPECT_NE(own.loss, once.loss);
}

TEST_P(Graphs, GradientsOfSeveralLossesAreAddedUp) {
    const auto of = [](bool first, bool second) {
        return [=](Tensor image, auto targets) {
            const Tensor x = conv(image, {.channels = 4, .name = "trunk"});
            const Tensor a = conv(x, {.channels = 1, .name = "a"}),
                         b = conv(x, {.channels = 1, .kernel = 1, .name = "b"});
            std::vector<Tensor> losses;
            if (first) losses.push_back(loss(a, kBce, targets));
            if (second) losses.push_back(loss(b, loss_from_name("dice + ce"), targets));
            return losses;
        };
    };
    const Result both = step(of(true, true)), a = step(of(true, false)), b = step(of(false, true));
    EXPECT_NEAR(both.loss, a.loss + b.loss, 1e-6 * both.loss);
    std::vector<float> sum = a.gradients;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += b.gradients[i];
    expect_close(both.gradients, sum);
}

TEST_P(Graphs, TwoLossesOfOneTensorAreAddedUp) {
    const auto of = [](int count) {
        return [=](Tensor image, auto targets) {
            const Tensor x = small_network(image);
            std::vector<Tensor> losses;
            for (int i = 0; i < count; ++i) losses.push_back(loss(x, kBce, targets));
            return losses;
        };
    };
    const Result one = step(of(1)), two = step(of(2));
    std::vector<float> twice = one.gradients;
    for (float& value : twice) value *= 2;
    EXPECT_NEAR(two.loss, 2 * one.loss, 1e-12);
    expect_close(two.gradients, twice);
}

TEST_P(Graphs, AWeightThatNoLossDependsOnHasAGradientOfZero) {
    const Inputs inputs(*context_, kShape, seed_);
    Graph graph;
    const Tensor image = graph.input("image", kShape);
    const Tensor beside =
        conv(conv(image, {.channels = 16, .name = "first"}), {.channels = 16, .kernel = {1, 3, 3}, .name = "beside"});
    const Tensor minimised = loss(small_network(image), kBce, inputs.targets());
    Parameters parameters;
    Compiled made =
        compile(graph, *context_, parameters, {.training = true, .keep = {beside}, .minimise = {minimised}});
    parameters.place(context_->backend(), context_->stream(), true);
    initialise(*context_, parameters, seed_);
    const Buffer seen = made[image];
    Plan plan(*context_, made.program);
    plan.bind(seen, inputs.image());
    plan.run();
    parameters.download();
    for (const char* name : {"beside.weight", "a.weight"}) {
        const ParameterId id = parameters.find(name);
        const float* const gradient = parameters.gradient(id);
        const bool zero =
            std::all_of(gradient, gradient + parameters[id].elements, [](float value) { return value == 0; });
        EXPECT_EQ(zero, name[0] == 'b') << name;
    }
}

// The sum is computed by itself where somebody else reads the convolution's result, and by the convolution where nobody
// does.
TEST_P(Graphs, ASumInAConvolutionEqualsASumBesideIt) {
    const auto of = [](bool apart) {
        return [=](Tensor image, auto targets) -> std::vector<Tensor> {
            const Tensor x = conv(image, {.channels = 6, .name = "first"});
            const Tensor y = conv(x, {.channels = 6, .name = "second"});
            Tensor sum = add(y, x);
            if (apart) sum = add(sum, times(y, 1));
            if (!apart) sum = add(sum, conv(x, {.channels = 6, .name = "third"}));
            return {loss(conv(sum, {.channels = 1, .name = "last"}), kBce, targets)};
        };
    };
    for (const bool apart : {false, true}) {
        Graph graph;
        const Tensor image = graph.input("image", kShape);
        const auto losses = of(apart)(image, std::make_shared<LossTargets>());
        Parameters parameters;
        const Compiled made = compile(graph, *context_, parameters, {.training = true, .minimise = losses});
        int sums = 0;
        for (const Call& call : made.program.calls()) sums += call.kind == "sums" && call.name.starts_with("add");
        EXPECT_EQ(sums > 0, apart);
        EXPECT_GT(step(of(apart)).loss, 0);
    }
}

TEST_P(Graphs, WhatIsKeptIsGivenPlainWithoutChangingTheRest) {
    const Inputs inputs(*context_, {1, 1, 4, 8, 4}, seed_);
    for (const bool bf16 : {false, true}) {
        std::vector<float> logits[2];
        for (const bool keeps : {false, true}) {
            Graph graph;
            const Tensor image = graph.input("image", {1, 1, 4, 8, 4});
            const Tensor middle = conv(image, {.channels = 7});
            const Tensor last = conv(relu(batch_norm(upsample(max_pool(middle)))), {.channels = 1});
            std::vector<Tensor> kept{last};
            if (keeps) kept.push_back(middle);
            Parameters parameters;
            Compiled made = compile(graph, *context_, parameters, {.bf16 = bf16, .keep = kept});
            parameters.place(context_->backend(), context_->stream(), false);
            initialise(*context_, parameters, seed_);
            const Buffer seen = made[image], logit = made[last];
            if (keeps) {
                EXPECT_EQ(made.program[made[middle]].form, Form{});
            }
            Plan plan(*context_, made.program);
            plan.bind(seen, inputs.image());
            plan.run();
            logits[keeps].resize(4 * 8 * 4);
            plan.read(logit, logits[keeps].data());
        }
        EXPECT_EQ(logits[0], logits[1]);
    }
}

// As a plan must be that somebody keeps: graph, parameters and context have gone out of scope.
TEST_P(Graphs, APlanOwnsWhatItRuns) {
    const auto inputs = std::make_unique<Inputs>(*context_, kShape, seed_);
    std::unique_ptr<Plan> plan;
    Buffer logit;
    {
        Context context(backend_of(GetParam()), {.threads = 1});
        Graph graph;
        const Tensor image = graph.input("image", kShape), x = small_network(image);
        Parameters parameters;
        Compiled made = compile(graph, context, parameters, {.keep = {x}});
        parameters.place(context.backend(), context.stream(), false);
        initialise(context, parameters, seed_);
        logit = made[x];
        const Buffer seen = made[image];
        plan = std::make_unique<Plan>(context, made.program);
        plan->bind(seen, inputs->image());
    }
    for (int run = 0; run < 3; ++run) plan->run();
    std::vector<float> values(2 * 4 * 6 * 8);
    plan->read(logit, values.data());
    EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }));
    EXPECT_NE(values.front(), values.back());
}

TEST_P(Graphs, ParametersBeginAsTheyAreDeclared) {
    Graph graph;
    const Tensor x = small_network(graph.input("image", {1, 3, 2, 2, 2}));
    Parameters parameters;
    compile(graph, *context_, parameters, {.keep = {x}});
    initialise(*context_, parameters, seed_);
    const auto values = [&](const std::string& name) {
        const ParameterId id = parameters.find(name);
        return std::vector<float>(parameters.value(id), parameters.value(id) + parameters[id].elements);
    };
    const std::vector<float> ones(5, 1.0f), zeros(5, 0.0f);
    EXPECT_EQ(values("a.norm.weight"), ones);
    EXPECT_EQ(values("a.norm.running_var"), ones);
    EXPECT_EQ(values("a.norm.bias"), zeros);
    EXPECT_EQ(values("a.norm.running_mean"), zeros);
    const double bound = 1 / std::sqrt(3 * 27.0);
    for (const char* name : {"a.weight", "a.bias"}) {
        const std::vector<float> drawn = values(name);
        const auto [least, most] = std::minmax_element(drawn.begin(), drawn.end());
        EXPECT_GE(*least, -bound);
        EXPECT_LT(*most, bound);
        EXPECT_LT(*least, *most);
    }
}

INSTANTIATE_TEST_SUITE_P(On, Graphs, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

// ----------------------------------------------------------------------------------------------------------------------

std::string error_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const std::logic_error& error) {
        return error.what();
    }
    return "";
}

TEST(GraphErrors, ARunBeforeItsInputIsBoundIsRefused) {
    Context context({"cpu"});
    Graph graph;
    const Tensor x = small_network(graph.input("image", kShape));
    Parameters parameters;
    Plan plan(context, compile(graph, context, parameters, {.keep = {x}}).program);
    EXPECT_EQ(error_of([&] { plan.run(); }), "a plan is run before image is bound to memory");
}

TEST(GraphErrors, WhatIsNotKeptCannotBeRead) {
    Context context({"cpu"});
    Graph graph;
    const Tensor image = graph.input("image", kShape), middle = conv(image, {.channels = 2}), x = conv(middle, {});
    Parameters parameters;
    Compiled made = compile(graph, context, parameters, {.keep = {x}});
    EXPECT_NE(error_of([&] { made[middle]; }).find("not told to keep"), std::string::npos);
    const Buffer seen = made[image];
    const Inputs inputs(context, kShape, 1);
    Plan plan(context, made.program);
    plan.bind(seen, inputs.image());
    plan.run();
    std::vector<float> values(4000);
    EXPECT_NE(error_of([&] { plan.read(seen, values.data()); }).find("not kept"), std::string::npos);
}

TEST(GraphErrors, NamesShapesAndGraphsThatDoNotFitAreRefused) {
    Graph graph, other;
    const Tensor x = graph.input("image", {1, 2, 4, 4, 3}), y = other.input("image", {1, 2, 4, 4, 3});
    conv(x, {.name = "same"});
    EXPECT_EQ(error_of([&] { conv(x, {.name = "same"}); }), "parameter same.weight is used twice");
    EXPECT_NE(error_of([&] { add(x, y); }).find("another graph"), std::string::npos);
    EXPECT_EQ(error_of([&] { add(x, conv(x, {.channels = 3})); }),
              "add: tensors of the shapes (1, 2, 4, 4, 3) and (1, 3, 4, 4, 3)");
    EXPECT_NE(error_of([&] { max_pool(x); }).find("do not fill"), std::string::npos);
    EXPECT_NE(error_of([&] { conv(x, {.kernel = 4}); }).find("a kernel of 4 cannot"), std::string::npos);
    EXPECT_NE(error_of([&] { loss(x, kBce, std::make_shared<LossTargets>()); }).find("one channel"), std::string::npos);
    Context context({"cpu"});
    Parameters parameters;
    EXPECT_NE(error_of([&] { compile(graph, context, parameters, {.keep = {y}}); }).find("another graph"),
              std::string::npos);
}

TEST(GraphErrors, ALossWithoutParametersIsNotMinimised) {
    Context context({"cpu"});
    Graph graph;
    const Tensor value = loss(graph.input("image", kShape), kBce, std::make_shared<LossTargets>());
    Parameters parameters;
    EXPECT_NE(error_of([&] {
                  compile(graph, context, parameters, {.training = true, .minimise = {value}});
              }).find("no parameter"),
              std::string::npos);
}

// From the last convolution on: what lies between it and a loss has few channels.
TEST(Graph, LogitsAreComputedInF32WhateverThePrecision) {
    Context context({"cpu"});
    Graph graph;
    const Tensor x = batch_norm(small_network(graph.input("image", kShape)));
    const Tensor value = loss(x, kBce, std::make_shared<LossTargets>());
    Parameters parameters;
    const Compiled made =
        compile(graph, context, parameters, {.training = true, .bf16 = true, .keep = {x}, .minimise = {value}});
    std::vector<std::string> copies;
    for (const Call& call : made.program.calls())
        if (call.kind == "copies") copies.push_back(call.name);
    EXPECT_EQ(copies, std::vector<std::string>{"image rounded"});
    EXPECT_EQ(made.program[made[x]].form, Form{});
}

TEST(Graph, WhatNobodyNeedsIsNotComputed) {
    Context context({"cpu"});
    Graph graph;
    const Tensor image = graph.input("image", kShape), x = small_network(image);
    conv(image, {.channels = 9, .name = "unused"});
    Parameters parameters;
    const Compiled made = compile(graph, context, parameters, {.keep = {x}});
    for (const Call& call : made.program.calls()) EXPECT_FALSE(call.name.starts_with("unused")) << call.name;
    EXPECT_NO_THROW(parameters.find("unused.weight")) << "a weights file holds it";
}

}  // namespace
}  // namespace iwseg
