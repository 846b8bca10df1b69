// Our own networks by nnU-Net's windows: --step-size and --mirror.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "apps/prediction/ensemble.h"
#include "apps/training/training_run.h"
#include "engine/initialisation.h"
#include "models/networks.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class WindowPrediction : public testing::Test {
  protected:
    WindowPrediction() {
        fs::create_directories(folder_);
        for (float& value : image_) value = std::normal_distribution<float>()(random_);
    }
    ~WindowPrediction() override { fs::remove_all(folder_); }

    TrainedNetwork network(const std::string& name) {
        Config config;
        config.network = "plain_unet";
        config.widths = {4, 6};
        Parameters parameters;
        const Network made = make_network(config.network, 1, config.widths);
        const GridPredictor declares(context_, parameters, made, {16, 16});
        initialise(context_, parameters, random_());
        parameters.save(folder_ / name, model_metadata(config, {"CT"}));
        return open_network(folder_ / name, std::nullopt);
    }
    static PredictionOptions windows(std::int64_t patch, WindowOptions chosen) {
        PredictionOptions options;
        options.patch = options.stride = patch;
        options.windows = chosen;
        return options;
    }
    Prediction predict(const std::vector<TrainedNetwork>& networks, const PredictionOptions& options,
                       const std::vector<float>& image) {
        return EnsemblePredictor(context_, networks, options).predict(image.data(), shape_[0], shape_[1], shape_[2]);
    }

    fs::path folder_ = fs::path(testing::TempDir()) / ("iwseg_windows_" + std::to_string(::getpid()));
    Context context_{{.device = "cpu", .threads = 1}};
    Extent shape_{12, 16, 10};
    std::vector<float> image_ = std::vector<float>(12 * 16 * 10);
    std::mt19937 random_{3};
};

TEST_F(WindowPrediction, NetworksAreAveragedByTheirLogits) {
    const TrainedNetwork a = network("a.safetensors"), b = network("b.safetensors");
    const PredictionOptions options = windows(8, {.step = 0.5, .mirror = true});
    const Prediction of_a = predict({a}, options, image_), of_b = predict({b}, options, image_);
    const Prediction mean = predict({a, b}, options, image_);
    for (std::size_t v = 0; v < image_.size(); ++v) {
        const float logit = (of_a.logit[v] + of_b.logit[v]) / 2;
        // Sums of up to 128 patches of f32 in another order.
        ASSERT_NEAR(mean.logit[v], logit, 1e-4f * (1 + std::abs(logit)));
        ASSERT_NEAR(mean.probability[v], 1 / (1 + std::exp(-mean.logit[v])), 1e-6f);
    }
}

/// In one window, whose padding is even: what is mirrored is predicted as the mirrored, but for the sums' order.
TEST_F(WindowPrediction, MirroredScansHaveMirroredResults) {
    const TrainedNetwork net = network("a.safetensors");
    std::vector<float> reversed(image_.rbegin(), image_.rend());
    const auto largest_difference = [&](bool mirror) {
        const PredictionOptions options = windows(16, {.step = 1, .mirror = mirror});
        const Prediction plain = predict({net}, options, image_), other = predict({net}, options, reversed);
        float largest = 0;
        for (std::size_t v = 0; v < image_.size(); ++v)
            largest = std::max(largest, std::abs(plain.logit[v] - other.logit[image_.size() - 1 - v]));
        return largest;
    };
    EXPECT_LT(largest_difference(true), 1e-4f);
    EXPECT_GT(largest_difference(false), 1e-3f) << "the network tells left from right";
}

TEST_F(WindowPrediction, TheirMemoryIsStatedAndTheGridIsTheDefault) {
    const TrainedNetwork net = network("a.safetensors");
    PredictionOptions grid = windows(8, {});
    const EnsemblePredictor by_windows(context_, {net}, grid);
    EXPECT_EQ(by_windows.bytes({12, 160, 100}) - by_windows.bytes({12, 16, 10}), (160 * 100 - 16 * 10) * (8 + 1) * 4)
        << "as many planes of logits as a patch has, and the one that is emitted";
    EXPECT_FALSE(EnsemblePredictor(context_, {net, net}, grid).sums());
    grid.windows.reset();
    EXPECT_TRUE(EnsemblePredictor(context_, {net, net}, grid).sums());
}

}  // namespace
}  // namespace iwseg
