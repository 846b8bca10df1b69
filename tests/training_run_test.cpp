#include "apps/training_run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>

#include "apps/weight_check.h"
#include "data/phantom.h"
#include "engine/context.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// Small phantom scans that live as long as the test suite, and trainings on them.
class TrainingRun : public testing::Test {
  protected:
    static constexpr int kCases = 6;

    static void SetUpTestSuite() {
        folder() = fs::path(testing::TempDir()) / fmt::format("training_run_{}", ::getpid());
        PhantomOptions options;
        options.folder = folder() / "data";
        options.cases = kCases;
        options.size = 32;
        write_phantom_dataset(options);
    }
    static void TearDownTestSuite() { fs::remove_all(folder()); }

    static fs::path& folder() {
        static fs::path path;
        return path;
    }

    static Config tiny(const std::vector<std::string>& settings = {}) {
        std::vector<std::string> all{"widths=[2,3,4,5]",  "patch=16",         "epochs=3",
                                     "steps_per_epoch=4", "predict.patch=24", "predict.stride=16",
                                     "threads=1",         "workers=1",        "intensity={window=[-200,300]}"};
        all.insert(all.end(), settings.begin(), settings.end());
        return resolve_config(std::nullopt, all);
    }

    static bool train_in(const fs::path& run, const Config& config) {
        Context context({.device = "cpu", .threads = 1});
        return train(context, config, folder() / "data", RunFolder(run));
    }
};

TEST_F(TrainingRun, ALastUpdateThatBreaksTheWeightsIsNotATrainedNetwork) {
    // The one step's loss is a number, and no step after it looks at what its update made: the decay of batch norm's
    // weights, which are 1, times 1.9 by the momentum, times the rate is beyond f32.
    const fs::path run = folder() / "broken";
    const Config config = tiny({"epochs=1", "steps_per_epoch=1", "learning_rate=3e38", "weight_decay=1"});
    try {
        train_in(run, config);
        FAIL() << "weights that are not finite counted as trained";
    } catch (const std::runtime_error& error) {
        EXPECT_NE(std::string(error.what()).find("not finite after the update of step 1"), std::string::npos)
            << error.what();
    }
    EXPECT_FALSE(fs::exists(run / "model.safetensors"));
    EXPECT_FALSE(fs::exists(run / "checkpoints/step_1"));
}

TEST(WeightCheck, NamesTheArrayThatCannotBeUsed) {
    Parameters parameters;
    const int weight = parameters.declare("0.weight", {2, 3}, true);
    const int mean = parameters.declare("1.bn.running_mean", {2}, false);
    const int variance = parameters.declare("1.bn.running_var", {2}, false);
    EXPECT_FALSE(unusable_weights(parameters));
    parameters.value(mean)[1] = -1;
    EXPECT_FALSE(unusable_weights(parameters)) << "a mean may be negative";
    parameters.value(variance)[1] = -1e-30f;
    EXPECT_EQ(unusable_weights(parameters), "1.bn.running_var holds a negative variance");
    parameters.value(variance)[1] = std::numeric_limits<float>::infinity();
    EXPECT_EQ(unusable_weights(parameters), "1.bn.running_var holds a value that is not finite");
    parameters.value(weight)[5] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(unusable_weights(parameters), "0.weight holds a value that is not finite");
}

}  // namespace
}  // namespace iwseg
