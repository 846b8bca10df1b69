// Whole trainings and predictions through the CUDA backend's host code, against the CPU.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/prediction/prediction_run.h"
#include "apps/training/run_context.h"
#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "data/phantom.h"
#include "engine/safetensors.h"
#include "tests/cuda_host/cuda_host.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class CudaTraining : public CudaHost {
  protected:
    CudaTraining() {
        PhantomOptions options;
        options.folder = folder_ / "data";
        options.cases = 4;
        options.size = 32;
        options.seed = 7;
        write_phantom_dataset(options);
    }

    static Config config(const std::vector<std::string>& settings = {}) {
        std::vector<std::string> all{"widths=[2,3,4,5]",
                                     "patch=16",
                                     "epochs=2",
                                     "steps_per_epoch=3",
                                     "predict.patch=16",
                                     "predict.stride=16",
                                     "threads=1",
                                     "workers=1",
                                     "intensity={window=[-200,300]}",
                                     "split.train=[\"phantom_000\", \"phantom_001\"]",
                                     "split.validation=[]",
                                     "split.test=[\"phantom_003\"]"};
        all.insert(all.end(), settings.begin(), settings.end());
        return resolve_config(std::nullopt, all);
    }

    fs::path train_on(const std::string& device, const std::string& name, const Config& config,
                      bool record = true) const {
        const RunFolder run(folder_ / name);
        ContextOptions options = context_of_run(config, device, run);
        options.record = record;
        Context context(options);
        train(context, config, folder_ / "data", run);
        return run.root();
    }

    static std::vector<double> losses(const fs::path& run) {
        std::vector<double> losses;
        std::istringstream text(read_text(run / "log.jsonl"));
        for (std::string line; std::getline(text, line);)
            if (const auto json = nlohmann::json::parse(line); json.contains("loss")) losses.push_back(json.at("loss"));
        return losses;
    }

    /// What a program does not keep in memory that a card has: nothing may be left.
    static void fresh_card(std::uint64_t seed) {
        expect_clean();
        standin::insert_card({.seed = seed});
    }
};

// The card sums in another order than the CPU, and each step starts from the last one's weights. With Dice and
// cross-entropy the difference stays what f32 rounds: 1e-5 of the loss. Dice by inverse weights, on 16^3 with a few
// voxels of lesion, makes up to a hundred times as much of it at a step: 1e-4 at the first three, which are queued one
// by one, recorded and replayed, 1e-1 at all six. A wrong kernel or a batch that came late shows at once.
TEST_F(CudaTraining, ATrainingsLossesAreThoseOfTheCpu) {
    for (const char* loss : {"iwdl", "dice + ce"}) {
        SCOPED_TRACE(loss);
        const Config wanted = config({fmt::format("loss=\"{}\"", loss), "tf32=false", "learning_rate=1e-3"});
        const std::vector<double> expected = losses(train_on("cpu", fmt::format("cpu {}", loss), wanted));
        ASSERT_EQ(expected.size(), 6u);
        fresh_card(0);
        const std::vector<double> got = losses(train_on("cuda", fmt::format("cuda {}", loss), wanted));
        ASSERT_EQ(got.size(), 6u);
        const bool grows = loss == std::string("iwdl");
        for (std::size_t i = 0; i < 6; ++i)
            EXPECT_NEAR(got[i], expected[i], (!grows ? 1e-5 : i < 3 ? 1e-4 : 1e-1) * expected[i]) << "step " << i;
    }
}

TEST_F(CudaTraining, IsTheSameBytesHoweverLateTheCardWorks) {
    const Config wanted = config();
    const std::string expected = read_text(train_on("cuda", "late", wanted) / "model.safetensors");
    for (std::uint64_t seed = 1; seed < 4; ++seed) {
        fresh_card(seed);
        EXPECT_EQ(read_text(train_on("cuda", fmt::format("seed {}", seed), wanted) / "model.safetensors"), expected);
    }
    fresh_card(9);
    EXPECT_EQ(read_text(train_on("cuda", "eager", wanted, false) / "model.safetensors"), expected)
        << "not as a CUDA graph";
}

TEST_F(CudaTraining, GoesOnWithTheSameBytesWithTheRunsPlans) {
    using standin::Engine;
    // Two engines that round differently, each the faster one on one day. Convolutions here are small, and the order of
    // the heuristics decides.
    Engine exact{.index = 1, .seconds = 1e-3}, rounded{.index = 2, .seconds = 1e-3};
    rounded.tensor_cores = true;
    standin::offer_engines({exact, rounded});
    const fs::path whole = train_on("cuda", "whole", config());
    ASSERT_TRUE(fs::exists(whole / "plans.txt"));
    train_on("cuda", "broken off", config({"epochs=1"}));
    fresh_card(0);
    standin::offer_engines({rounded, exact});
    fs::remove_all(folder_ / "iwseg");
    const fs::path resumed = train_on("cuda", "broken off", config());
    const auto tensors = read_safetensors(whole / "model.safetensors");
    for (const auto& [name, tensor] : read_safetensors(resumed / "model.safetensors"))
        EXPECT_EQ(tensor.bytes, tensors.at(name).bytes) << name;
    const fs::path other = train_on("cuda", "other", config());
    EXPECT_NE(read_text(other / "model.safetensors"), read_text(whole / "model.safetensors"))
        << "without the run's plans";
}

TEST_F(CudaTraining, Tf32IsTheKeysToChoose) {
    const auto with = [&](const char* tf32) {
        fresh_card(0);
        return losses(train_on("cuda", tf32, config({tf32, "epochs=1"})));
    };
    const std::vector<double> exact = with("tf32=false"), rounded = with("tf32=true");
    EXPECT_NE(exact, rounded);
    // Operands keep ten bits of fraction: 2^-11 of each product.
    for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(rounded[i], exact[i], 2e-2 * std::abs(exact[i]));
    EXPECT_TRUE(Config{}.tf32) << "as PyTorch's convolutions";
}

TEST_F(CudaTraining, PredictionsAreThoseOfTheCpu) {
    const Config wanted = config({"epochs=1", "tf32=false"});
    const fs::path run = train_on("cpu", "predicted", wanted);
    const auto predict_on = [&](const std::string& device) {
        Context context({.device = device, .threads = 1});
        const Dataset dataset = open_dataset(folder_ / "data");
        PredictionOptions options;
        options.out = folder_ / ("on " + device);
        options.patch = 16, options.stride = 12;
        predict_cases(context, {open_network(run / "model.safetensors", run / "config.toml")}, dataset,
                      {dataset.find("phantom_003")}, options);
        return read_image(options.out / "phantom_003_logit.nii.gz");
    };
    const Volume<float> expected = predict_on("cpu");
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
        fresh_card(seed);
        const Volume<float> got = predict_on("cuda");
        double largest = 0, difference = 0;
        for (std::size_t v = 0; v < got.voxels.size(); ++v) {
            largest = std::max(largest, static_cast<double>(std::abs(expected.voxels[v])));
            difference = std::max(difference, static_cast<double>(std::abs(got.voxels[v] - expected.voxels[v])));
        }
        EXPECT_LT(difference, 1e-4 * largest) << "f32 sums in another order through some twenty layers";
    }
}

TEST_F(CudaTraining, OfBf16IsTheSameBytesAgain) {
    const Config wanted = config({"precision=bf16", "epochs=1"});
    const std::string first = read_text(train_on("cuda", "first", wanted) / "model.safetensors");
    fresh_card(5);
    EXPECT_EQ(read_text(train_on("cuda", "second", wanted) / "model.safetensors"), first);
    for (const double loss : losses(folder_ / "first")) EXPECT_TRUE(std::isfinite(loss));
}

TEST_F(CudaTraining, LeavesHalfAGigabyteForKernelsThatAreLoadedLate) {
    standin::insert_card({.memory = (std::int64_t{512} << 20) + 1000});
    try {
        train_on("cuda", "small", config());
        FAIL() << "it fits in 1000 bytes";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("but 0.00 GB are free"), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace iwseg
