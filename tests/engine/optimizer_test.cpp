// What a training's steps make of parameters: against the same in double precision, over batches, and after resuming.
#include "engine/optimizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

constexpr int kElements = 37, kStatistics = 5;

/// Parameters with an optimizer, whose gradients a test gives.
class Trained {
  public:
    explicit Trained(const OptimizerOptions& options, unsigned seed) : random_(seed) {
        parameters.declare({"weight", {kElements}});
        parameters.declare({"running_mean", {kStatistics}, {}, false});
        for (float& value : parameters.values()) value = normal();
        parameters.place(context_.backend(), context_.stream(), true);
        optimizer = std::make_unique<Optimizer>(parameters, options);
        Program program;
        optimizer->add_calls(program, context_.backend(), [this] { return &step_; });
        optimizer->place(context_.backend(), context_.stream());
        plan_.emplace(context_, program);
    }

    float normal() { return std::normal_distribution<float>()(random_); }
    std::vector<float> batch(const std::vector<float>& gradient, float rate) {
        parameters.gradients() = gradient;
        for (float& value : parameters.statistics()) value += 0.5f;
        step_ = optimizer->next(rate);
        plan_->run();
        optimizer->finish();
        return parameters.values();
    }
    std::vector<float> noise(double scale = 1) {
        std::vector<float> values(kElements);
        for (float& value : values) value = static_cast<float>(scale) * normal();
        return values;
    }

    Parameters parameters;
    std::unique_ptr<Optimizer> optimizer;

  private:
    Context context_{{.device = "cpu", .threads = 1}};
    std::mt19937 random_;
    UpdateStep step_;
    std::optional<Plan> plan_;
};

class OptimizerSteps : public testing::Test {
  protected:
    OptimizerSteps() : seed_(std::random_device{}()), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    unsigned seed_;

  private:
    testing::ScopedTrace trace_;
};

TEST_F(OptimizerSteps, AdamWCorrectsItsMomentsAsPyTorchDoes) {
    Trained trained({.rule = AdamW{.beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-6f, .weight_decay = 0.05f}}, seed_);
    std::vector<double> value(trained.parameters.values().begin(), trained.parameters.values().end());
    std::vector<double> mean(kElements), square(kElements);
    for (int t = 1; t <= 6; ++t) {
        const std::vector<float> g = trained.noise();
        const double rate = 0.1 / t;
        const std::vector<float> got = trained.batch(g, static_cast<float>(rate));
        for (std::size_t i = 0; i < kElements; ++i) {
            value[i] *= 1 - rate * 0.05;
            mean[i] = 0.9 * mean[i] + 0.1 * g[i];
            square[i] = 0.99 * square[i] + 0.01 * g[i] * g[i];
            const double corrected = mean[i] / (1 - std::pow(0.9, t));
            value[i] -= rate * corrected / (std::sqrt(square[i] / (1 - std::pow(0.99, t))) + 1e-6);
            ASSERT_NEAR(got[i], value[i], 5e-6)
                << "step " << t;  // f32 rounds six updates; 0.9 and 0.99 are rounded too
        }
    }
}

TEST_F(OptimizerSteps, BatchesOfAStepCountAsOneOfTheirMean) {
    const OptimizerOptions one{.rule = Sgd{.momentum = 0.9f}, .clip_norm = 2};
    OptimizerOptions three = one;
    three.batches = 3;
    Trained apart(three, seed_), together(one, seed_);
    for (int step = 0; step < 3; ++step) {
        std::vector<float> mean(kElements), last;
        for (int b = 0; b < 3; ++b) {
            const std::vector<float> g = apart.noise();
            for (std::size_t i = 0; i < kElements; ++i) mean[i] += g[i] / 3;
            const std::vector<float> before = apart.parameters.values();
            EXPECT_EQ(apart.optimizer->steps(), step);
            last = apart.batch(g, 0.1f);
            if (b < 2) {
                EXPECT_EQ(last, before);
            }
        }
        const std::vector<float> expected = together.batch(mean, 0.1f);
        for (std::size_t i = 0; i < kElements; ++i) ASSERT_NEAR(last[i], expected[i], 2e-6);  // sums in another order
    }
}

TEST_F(OptimizerSteps, AveragesFollowWeightsAndStatistics) {
    Trained trained({.rule = Sgd{.momentum = 0, .nesterov = false}, .average = 0.75f}, seed_);
    Parameters other;
    other.declare({"weight", {kElements}});
    other.declare({"running_mean", {kStatistics}, {}, false});
    EXPECT_THROW(trained.optimizer->copy_averages(other), std::logic_error);  // of nothing yet
    std::vector<double> average;
    double statistic = 0;
    for (int step = 1; step <= 4; ++step) {
        const std::vector<float> now = trained.batch(trained.noise(), 0.3f);
        if (step == 1) average.assign(now.begin(), now.end());
        for (std::size_t i = 0; i < kElements; ++i) average[i] = 0.75 * average[i] + 0.25 * now[i];
        statistic = step == 1 ? 0.5 : 0.75 * statistic + 0.25 * 0.5 * step;
        trained.optimizer->copy_averages(other);
        for (std::size_t i = 0; i < kElements; ++i) ASSERT_NEAR(other.values()[i], average[i], 2e-6);
        for (const float value : other.statistics()) ASSERT_NEAR(value, statistic, 1e-6);
    }
    Parameters wrong;
    wrong.declare({"weight", {kElements + 1}});
    EXPECT_THROW(trained.optimizer->copy_averages(wrong), std::invalid_argument);
}

TEST_F(OptimizerSteps, GoOnAfterLoadingAsIfTheyHadNotEnded) {
    const auto file =
        std::filesystem::temp_directory_path() / ("optimizer_" + std::to_string(getpid()) + ".safetensors");
    for (const OptimizerOptions& options :
         {OptimizerOptions{}, OptimizerOptions{.rule = AdamW{}, .batches = 2, .clip_norm = 1, .average = 0.9f}}) {
        Trained whole(options, seed_), first(options, seed_), second(options, seed_ + 1);
        const auto run = [&](Trained& trained, int from, int to) {
            for (int batch = from; batch < to; ++batch) {
                std::mt19937 random(seed_ + 100 + static_cast<unsigned>(batch));
                std::vector<float> gradient(kElements);
                for (float& g : gradient) g = std::normal_distribution<float>()(random);
                trained.batch(gradient, 0.01f);
            }
        };
        run(whole, 0, 8);
        run(first, 0, 4);
        first.optimizer->save(file);
        second.parameters.values() = first.parameters.values();
        second.parameters.statistics() = first.parameters.statistics();
        second.optimizer->load(file);
        EXPECT_EQ(second.optimizer->steps(), 4 / options.batches);
        run(second, 4, 8);
        EXPECT_EQ(second.parameters.values(), whole.parameters.values());
        if (options.average > 0) {
            Parameters a, b;
            for (Parameters* p : {&a, &b}) {
                p->declare({"weight", {kElements}});
                p->declare({"running_mean", {kStatistics}, {}, false});
            }
            whole.optimizer->copy_averages(a);
            second.optimizer->copy_averages(b);
            EXPECT_EQ(a.values(), b.values());
            EXPECT_EQ(a.statistics(), b.statistics());
        }
    }
    std::filesystem::remove(file);
}

TEST_F(OptimizerSteps, AreNotSavedBetweenTheirBatches) {
    Trained trained({.batches = 2}, seed_);
    trained.batch(trained.noise(), 0.1f);
    EXPECT_THROW(trained.optimizer->save("/dev/null"), std::logic_error);
}

TEST_F(OptimizerSteps, RefuseOptionsOutsideOfTheirRanges) {
    for (const OptimizerOptions& bad :
         {OptimizerOptions{.rule = Sgd{.momentum = 1}}, OptimizerOptions{.rule = AdamW{.beta2 = 1}},
          OptimizerOptions{.rule = AdamW{.epsilon = 0}}, OptimizerOptions{.batches = 0},
          OptimizerOptions{.clip_norm = -1}, OptimizerOptions{.average = 1}})
        EXPECT_THROW(Trained(bad, seed_), std::invalid_argument);
}

}  // namespace
}  // namespace iwseg
