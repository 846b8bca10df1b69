// Trainings whose configuration asks for more than SGD on one batch a step.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/phantom.h"
#include "engine/context.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class TrainingOptimizer : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = fs::path(testing::TempDir()) / fmt::format("training_optimizer_{}", ::getpid());
        PhantomOptions options;
        options.folder = folder_ / "data";
        options.cases = 4;
        options.size = 32;
        write_phantom_dataset(options);
    }
    void TearDown() override { fs::remove_all(folder_); }

    static Config tiny(const std::vector<std::string>& settings) {
        std::vector<std::string> all{"widths=[2,3,4,5]", "patch=16",         "epochs=3",  "steps_per_epoch=3",
                                     "threads=1",        "predict.patch=24", "workers=1", "predict.stride=16"};
        all.insert(all.end(), settings.begin(), settings.end());
        return resolve_config(std::nullopt, all);
    }
    /// The last model's bytes.
    std::string train_in(const std::string& run, const Config& config) const {
        Context context({.device = "cpu", .threads = 1});
        train(context, config, folder_ / "data", RunFolder(folder_ / run));
        return read_text(RunFolder(folder_ / run).model());
    }
    /// One value of each line of log.jsonl that has it.
    std::vector<double> logged(const std::string& run, const std::string& key) const {
        std::istringstream lines(read_text(RunFolder(folder_ / run).log()));
        std::vector<double> values;
        for (std::string line; std::getline(lines, line);)
            if (const auto json = nlohmann::json::parse(line); json.contains(key)) values.push_back(json[key]);
        return values;
    }

    fs::path folder_;
};

TEST_F(TrainingOptimizer, EveryKeyOfItGoesOnAfterAResume) {
    const std::vector<std::string> keys{"optimizer=adamw", "accumulate=3", "clip_norm=0.5", "weight_average=0.9",
                                        "weight_decay=0.01"};
    const auto with = [&](std::vector<std::string> more) {
        more.insert(more.end(), keys.begin(), keys.end());
        return tiny(more);
    };
    const std::string whole = train_in("whole", with({}));
    train_in("parts", with({"epochs=1"}));
    EXPECT_EQ(train_in("parts", with({})), whole);
    EXPECT_EQ(logged("whole", "loss").size(), 9u);
    EXPECT_EQ(logged("parts", "loss"), logged("whole", "loss"));
}

TEST_F(TrainingOptimizer, EachKeyOfItChangesWhatIsLearned) {
    const std::string plain = train_in("plain", tiny({"epochs=1"}));
    int run = 0;
    for (const char* key : {"optimizer=adamw", "accumulate=2", "clip_norm=0.01", "weight_average=0.5"}) {
        SCOPED_TRACE(key);
        // The metadata differ too; what the steps after the first one learn from shows in their losses.
        const std::string name = fmt::format("run_{}", ++run);
        train_in(name, tiny({"epochs=1", key}));
        if (std::string(key).starts_with("weight_average"))  // which steps do not see
            EXPECT_EQ(logged(name, "rate"), logged("plain", "rate"));
        else
            EXPECT_NE(logged(name, "loss"), logged("plain", "loss"));
    }
}

TEST_F(TrainingOptimizer, ASumOfBatchesReadsTheBatchesThatSingleStepsWould) {
    train_in("three", tiny({"epochs=1", "accumulate=3", "steps_per_epoch=2"}));
    train_in("one", tiny({"epochs=1", "steps_per_epoch=6"}));
    const auto three = logged("three", "lesion_voxels"), one = logged("one", "lesion_voxels");
    ASSERT_EQ(three.size(), 2u);
    ASSERT_EQ(one.size(), 6u);
    EXPECT_EQ(three[0], one[0] + one[1] + one[2]);
    EXPECT_EQ(three[1], one[3] + one[4] + one[5]);
}

TEST(OptimizerKeys, AreRefusedOutsideOfTheirRanges) {
    for (const char* setting : {"optimizer=adam", "accumulate=0", "clip_norm=-1", "clip_norm=inf", "weight_average=1",
                                "adam_betas=[0.9, 1]", "adam_betas=0.9"}) {
        SCOPED_TRACE(setting);
        EXPECT_THROW(resolve_config(std::nullopt, {setting}), InputError);
    }
    resolve_config(std::nullopt, {"optimizer=adamw", "momentum=0"});  // momentum is SGD's
}

}  // namespace
}  // namespace iwseg
