// A program's own training, from a function that makes a network to a prediction, on the CPU and on the executor.
#include "training/trainer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/conv.h"
#include "engine/ops/relu.h"
#include "models/predictor.h"
#include "tests/support/backends.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

Tensor small_network(Tensor x) {
    x = relu(batch_norm(conv(x, {.channels = 6}), {}));
    return conv(x, {.channels = 1, .kernel = 1});
}

constexpr Shape kInput{2, 1, 6, 8, 10};

/// Noise with bright cubes in it, which are the lesions.
std::pair<std::vector<float>, std::vector<std::uint8_t>> next_batch(std::mt19937& random) {
    std::vector<float> image(static_cast<std::size_t>(kInput.elements()));
    std::vector<std::uint8_t> target(image.size());
    const std::int64_t side = random() % 3 + 1;
    for (std::int64_t n = 0; n < kInput.n; ++n)
        for (std::int64_t z = 0; z < side; ++z)
            for (std::int64_t y = 0; y < side; ++y)
                for (std::int64_t x = 0; x < side; ++x)
                    target[static_cast<std::size_t>(((n * kInput.d + z + 1) * kInput.h + y + 2) * kInput.w + x + 3)] =
                        1;
    for (std::size_t v = 0; v < image.size(); ++v)
        image[v] = std::normal_distribution<float>()(random) * 0.5f + (target[v] ? 3.0f : 0.0f);
    return {image, target};
}

class Trainers : public testing::TestWithParam<TestBackend> {
  protected:
    Trainers() : seed_(std::random_device{}()), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    Context context() const { return Context(backend_of(GetParam()), {.threads = 1}); }

    unsigned seed_;

  private:
    testing::ScopedTrace trace_;
};

TEST_P(Trainers, LearnWhatLesionsLookLike) {
    constexpr unsigned kSeed = 7;  // of some few the smallest networks die at once, all of their ReLUs at 0
    for (const Loss& loss : {dice() + bce(), iwdice() + 0.5f * iwbce()}) {
        SCOPED_TRACE(loss.name);
        std::mt19937 random(kSeed);
        Trainer trainer(context(), small_network, loss, Sgd{.momentum = 0.9f}, {.input = kInput, .seed = kSeed});
        EXPECT_NE(trainer.description().find("2 x 1 x 6 x 8 x 10 in fp32"), std::string::npos);
        EXPECT_GT(trainer.bytes(), kInput.elements() * 4 * 6);
        std::vector<double> losses;
        for (int step = 0; step < 120; ++step) {
            const auto [image, target] = next_batch(random);
            losses.push_back(trainer.step(image, target, {.rate = 0.05f}));
        }
        EXPECT_EQ(trainer.steps(), 120);
        const auto mean = [](auto first, auto last) { return std::accumulate(first, last, 0.0) / 20; };
        EXPECT_LT(mean(losses.end() - 20, losses.end()), 0.8 * mean(losses.begin(), losses.begin() + 20));
        const auto [image, target] = next_batch(random);
        const auto one = static_cast<std::size_t>(kInput.voxels());
        Predictor predictor(context(), small_network, trainer.parameters(), {.patch = 8, .overlap = 0.5});
        const Prediction made = predictor.predict(std::span(image).first(one), {kInput.d, kInput.h, kInput.w});
        float lesion = 0, background = 0;
        int lesion_voxels = 0;
        for (std::size_t v = 0; v < one; ++v) {
            (target[v] ? lesion : background) += made.probability[v];
            lesion_voxels += target[v];
        }
        const auto background_voxels = static_cast<int>(one) - lesion_voxels;
        EXPECT_GT(lesion / static_cast<float>(lesion_voxels), 5 * background / static_cast<float>(background_voxels));
    }
}

TEST_P(Trainers, GoOnFromAFolderAsIfTheyHadNotEnded) {
    const fs::path folder = fs::temp_directory_path() / ("trainer_" + std::to_string(getpid()));
    const TrainerOptions options{
        .input = kInput, .precision = Precision::bf16, .batches = 2, .clip_norm = 1, .average = 0.8f};
    const auto make = [&] { return Trainer(context(), small_network, dice() + bce(), AdamW{}, options); };
    const auto run = [&](Trainer& trainer, int from, int to) {
        for (int batch = from; batch < to; ++batch) {
            std::mt19937 random(seed_ + static_cast<unsigned>(batch));
            const auto [image, target] = next_batch(random);
            trainer.step(image, target, {.rate = 1e-2f});
        }
    };
    Trainer whole = make(), first = make(), second = make();
    run(whole, 0, 8);
    run(first, 0, 4);
    first.save(folder);
    second.load(folder);
    EXPECT_EQ(second.steps(), 2);
    run(second, 4, 8);
    EXPECT_EQ(second.parameters().values(), whole.parameters().values());
    EXPECT_EQ(second.parameters().statistics(), whole.parameters().statistics());
    run(first, 4, 5);
    EXPECT_THROW(first.save(folder), std::logic_error);  // between the batches of an update
    fs::remove_all(folder);
}

TEST_P(Trainers, RefuseBatchesOfAnotherSizeOrMeaning) {
    Trainer trainer(context(), small_network, bce(), Sgd{}, {.input = kInput});
    std::mt19937 random(seed_);
    auto [image, target] = next_batch(random);
    EXPECT_THROW(trainer.step(std::span(image).first(7), target), std::invalid_argument);
    EXPECT_THROW(trainer.step(image, std::span(target).first(7)), std::invalid_argument);
    target[3] = 2;
    EXPECT_THROW(trainer.step(image, target), std::invalid_argument);
    target[3] = kIgnored;
    trainer.step(image, target);
}

TEST_P(Trainers, WarmUpsRiseWithTheStepsAndGoOnWhereTheyWereSaved) {
    std::mt19937 random(seed_);
    const auto [image, target] = next_batch(random);
    const Loss loss = loss_from_name("ce + 1000*mil @warmup 1.5 + 10*cat @warmup 1", {.steps_per_epoch = 2});
    const fs::path folder = fs::temp_directory_path() / ("iwseg_warmup_" + std::to_string(getpid()));
    const auto make = [&] { return Trainer(context(), small_network, loss, Sgd{}, {.input = kInput, .seed = seed_}); };
    Trainer trainer = make();
    std::vector<double> losses;
    for (int step = 0; step < 5; ++step) {
        if (step == 2) trainer.save(folder);
        losses.push_back(trainer.step(image, target, {.rate = 0}));  // the network stays as it is
    }
    const double mil = (losses[3] - losses[2]) * 3, cat = (losses[1] - losses[0] - mil / 3) * 2;
    EXPECT_GT(mil, 0);
    EXPECT_GT(cat, 0);
    const double close = 1e-5 * losses[4];  // f32 coefficients of terms a thousand times as large
    EXPECT_NEAR(losses[2], losses[0] + cat + 2 * mil / 3, close);
    EXPECT_NEAR(losses[3], losses[0] + cat + mil, close);
    EXPECT_NEAR(losses[4], losses[3], close);
    Trainer resumed = make();
    resumed.load(folder);
    for (int step = 2; step < 5; ++step) EXPECT_EQ(resumed.step(image, target, {.rate = 0}), losses[step]);
    fs::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Backends, Trainers, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& one) { return std::string(name_of(one.param)); });

TEST(LossSums, OfValuesAreThoseOfTheirText) {
    const Loss sum = iwdice() + 0.5f * (iwbce() + dice());
    EXPECT_EQ(sum.name, loss_from_name("0.5*dice + iwdice + 0.5*iwce").name);
    EXPECT_TRUE(sum.weighted());
    EXPECT_FALSE((dice() + bce()).weighted());
    EXPECT_THROW(0.0f * dice(), InputError);
}

}  // namespace
}  // namespace iwseg
