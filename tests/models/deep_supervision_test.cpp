// Networks with heads at several resolutions, against nnU-Net's own modules (tests/models/deep_supervision_golden.py).
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/initialisation.h"
#include "engine/safetensors.h"
#include "losses/loss.h"
#include "models/grid_prediction.h"
#include "models/networks.h"
#include "models/plain_unet.h"
#include "models/residual_encoder_unet.h"
#include "tests/support/backends.h"
#include "tests/support/golden.h"
#include "training/session.h"
#include "training/target_level.h"
#include "training/trainer.h"

namespace iwseg {
namespace {

constexpr Shape kInput{2, 1, 8, 16, 12};

Network golden_network() {
    return plain_unet({.widths = {2, 3, 3, 4},
                       .strides = {1, {1, 2, 2}, 2, {2, 2, 1}},
                       .convs = {1, 1, 1, 1},
                       .decoder_convs = {1, 1, 1}});
}

class DeepSupervision : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override {
        IWSEG_SKIP_WITHOUT_DEVICE(GetParam());
        context_.emplace(backend_of(GetParam()), ContextOptions{.threads = 2});
        for (const auto& [name, tensor] : read_safetensors(golden_file("deep_supervision.safetensors")))
            golden_[name] = tensor.as_f32();
    }

    TrainingOptions options(const Network& network, const std::string& loss) const {
        TrainingOptions made;
        made.network = network;
        made.loss = loss_from_name(loss);
        made.input = kInput;
        return made;
    }
    Batch golden_batch() const {
        Batch batch;
        batch.shape = kInput;
        batch.image = golden_.at("image");
        for (const float value : golden_.at("target")) batch.target.push_back(value > 0.5f);
        return batch;
    }
    void set_golden(Parameters& parameters) const {
        for (int i = 0; i < parameters.size(); ++i) {
            const std::vector<float>& values = golden_.at("before." + parameters[{i}].name);
            ASSERT_EQ(static_cast<std::int64_t>(values.size()), parameters[{i}].elements);
            std::copy(values.begin(), values.end(), parameters.value({i}));
        }
        parameters.upload();
    }

    std::optional<Context> context_;
    std::map<std::string, std::vector<float>> golden_;
};

TEST_P(DeepSupervision, LossAndGradientsEqualNnunets) {
    Parameters parameters;
    TrainingSession session(*context_, parameters, options(golden_network().with_heads(), "bce"));
    const auto stored =
        std::count_if(golden_.begin(), golden_.end(), [](const auto& one) { return one.first.starts_with("before."); });
    EXPECT_EQ(parameters.size(), stored);  // the coarsest head too
    set_golden(parameters);
    const double loss = session.step(golden_batch(), 0.1f);
    EXPECT_NEAR(loss, golden_.at("loss")[0], 1e-6);
    parameters.download();
    for (int i = 0; i < parameters.size(); ++i) {
        const std::string& name = parameters[{i}].name;
        // What comes before an InstanceNorm's mean has no gradient: rounding alone is in PyTorch's. Elsewhere sums of
        // terms of 1e-2 that cancel are added in another order.
        const bool rounding = name.ends_with("conv.bias");
        const std::vector<float>& expected = golden_.at("gradient." + name);
        double largest = 0;
        for (const float value : expected) largest = std::max(largest, std::abs(double{value}));
        for (std::size_t k = 0; k < expected.size(); ++k)
            ASSERT_NEAR(parameters.gradient({i})[k], rounding ? 0 : expected[k],
                        rounding ? 1e-6 : 1e-5 * largest + 1e-7)
                << name << ' ' << k;
    }
}

TEST_P(DeepSupervision, TargetsAreNnunets) {
    Batch batch = golden_batch();
    for (const int level : {1, 2}) {
        const Shape shape{2, 1, level == 1 ? 8 : 4, level == 1 ? 8 : 4, level == 1 ? 6 : 3};
        TargetLevel made(*context_, kInput, shape, false);
        made.set(batch);
        std::vector<std::uint8_t> got(static_cast<std::size_t>(shape.elements()));
        context_->backend().copy_to_host(context_->stream(), made.targets()->target, got.data(),
                                         static_cast<std::int64_t>(got.size()));
        context_->backend().synchronise(context_->stream());
        const std::vector<float>& expected = golden_.at("target." + std::to_string(level));
        for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], expected[i]) << level << ' ' << i;
    }
    EXPECT_THROW(TargetLevel(*context_, kInput, {2, 1, 3, 8, 6}, false), std::invalid_argument);
}

TEST_P(DeepSupervision, EveryTermIsComputedAtEachResolutionAndItsGradientIsThatOfTheLoss) {
    Batch batch = golden_batch();
    // Two lesions that coarser targets keep, and their labels.
    std::fill(batch.target.begin(), batch.target.end(), 0);
    batch.labels.assign(batch.target.size(), 0);
    for (std::int64_t n = 0; n < 2; ++n)
        for (std::int64_t z = 0; z < 8; ++z)
            for (std::int64_t y = 0; y < 8; ++y)
                for (std::int64_t x = 0; x < 12; ++x) {
                    const int label = x < 5 ? 1 : x > 7 ? 2 : 0;
                    const auto at = static_cast<std::size_t>(((n * 8 + z) * 16 + y) * 12 + x);
                    batch.target[at] = label > 0;
                    batch.labels[at] = label;
                }
    batch.stride = 3;
    batch.weights = {0.5f, 3, 2, 0.5f, 2, 4};
    for (const char* name : {"iwdl", "dice + ce", "iwbce", "fl", "dice + ce + 0.1*cat", "ce + mil", "ce + ici",
                             "blob(dice + ce)", "cc(dice + ce)"}) {
        SCOPED_TRACE(name);
        Parameters deep, plain;
        TrainingSession with(*context_, deep, options(golden_network().with_heads(), name));
        TrainingSession without(*context_, plain, options(golden_network(), name));
        set_golden(deep);
        set_golden(plain);
        const double loss = with.step(batch, 0.0f), finest = without.step(batch, 0.0f);
        EXPECT_TRUE(std::isfinite(loss));
        EXPECT_NE(loss, finest);
        if (GetParam() != TestBackend::cpu) continue;
        if (std::string(name) == "ce + ici") continue;  // it holds constant what a difference changes
        deep.download();
        const ParameterId head = deep.find("decoder.seg_layers.1.weight");
        const std::vector<float> gradient(deep.gradient(head), deep.gradient(head) + deep[head].elements);
        // Of order step^2, and of f32's rounding of the loss by the step.
        constexpr float kStep = 0.02f;
        for (std::size_t k = 0; k < gradient.size(); ++k) {
            const float kept = deep.value(head)[k];
            const auto at = [&](float value) {
                deep.value(head)[k] = value;
                deep.upload();
                return with.step(batch, 0.0f);
            };
            const double difference = (at(kept + kStep) - at(kept - kStep)) / (2.0 * kStep);
            at(kept);
            EXPECT_NEAR(gradient[k], difference, 1e-3 + 1e-2 * std::abs(difference)) << k;
        }
    }
}

TEST_P(DeepSupervision, ResumedTrainingGoesOnAsItWould) {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("deep_" + std::to_string(getpid()) + name_of(GetParam()));
    const Batch batch = golden_batch();
    const TrainerOptions chosen{.input = kInput, .seed = 3};
    const auto trainer = [&] {
        return Trainer(*context_, golden_network().with_heads(), dice() + bce(), Sgd{.momentum = 0.9f}, chosen);
    };
    Trainer first = trainer();
    first.step(batch.image, batch.target);
    first.save(folder);
    const double expected = (first.step(batch.image, batch.target), first.step(batch.image, batch.target));
    Trainer second = trainer();
    second.load(folder);
    second.step(batch.image, batch.target);
    EXPECT_EQ(second.step(batch.image, batch.target), expected);
    std::filesystem::remove_all(folder);
}

TEST_P(DeepSupervision, WeightsFilesWithHeadsAndWithoutArePredictedWith) {
    const std::filesystem::path file =
        std::filesystem::temp_directory_path() / ("heads_" + std::to_string(getpid()) + name_of(GetParam()));
    std::vector<float> results[2];
    for (const bool heads : {false, true}) {
        Network network = golden_network();
        if (heads) network = network.with_heads();
        Parameters parameters;
        TrainingSession session(*context_, parameters, options(network, "bce"));
        set_golden(parameters);
        parameters.save(file);
        const Network read = network_of_weights(file.string());
        EXPECT_EQ(static_cast<bool>(read.build_levels), heads);
        Parameters loaded;
        GridPredictor predictor(*context_, loaded, read, {.patch = 16, .stride = 16});
        loaded.load(file);
        std::vector<float> image(16 * 16 * 16);
        for (std::size_t i = 0; i < image.size(); ++i) image[i] = golden_.at("image")[i % golden_.at("image").size()];
        results[heads] = predictor.predict(image.data(), 16, 16, 16).logit;
    }
    EXPECT_EQ(results[0], results[1]);
    std::filesystem::remove(file);
}

TEST(LevelWeights, HalveAndLeaveTheCoarsestOut) {
    EXPECT_EQ(level_weights(1), (std::vector<float>{1}));
    EXPECT_EQ(level_weights(2), (std::vector<float>{1, 0}));
    const std::vector<float> four = level_weights(4);
    EXPECT_FLOAT_EQ(four[0], 4.0f / 7);
    EXPECT_FLOAT_EQ(four[2], 1.0f / 7);
    EXPECT_EQ(four[3], 0);
    EXPECT_FALSE(plain_unet({.widths = {4, 8}}).with_heads) << "of two stages there is one resolution";
    EXPECT_TRUE(residual_encoder_unet({.widths = {4, 8, 8}}).with_heads().build_levels);
}

INSTANTIATE_TEST_SUITE_P(On, DeepSupervision, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& one) { return std::string(name_of(one.param)); });

}  // namespace
}  // namespace iwseg
