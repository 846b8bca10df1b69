#include "apps/training_run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/fold_runs.h"
#include "apps/operating_point.h"
#include "apps/validation_plan.h"
#include "apps/validation_score.h"
#include "apps/weight_check.h"
#include "data/phantom.h"
#include "engine/atomic_file.h"
#include "engine/context.h"
#include "engine/safetensors.h"
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

/// A split of the phantom scans with so many to validate.
std::vector<std::string> split_with(int validation) {
    std::string names;
    for (int i = 0; i < validation; ++i) names += fmt::format("{}\"phantom_00{}\"", i ? ", " : "", 2 + i);
    return {"split.train=[\"phantom_000\", \"phantom_001\"]", fmt::format("split.validation=[{}]", names),
            "split.test=[\"phantom_005\"]"};
}

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

std::vector<nlohmann::json> log_of(const fs::path& run) {
    std::vector<nlohmann::json> lines;
    std::istringstream text(read_text(run / "log.jsonl"));
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
}

std::map<std::string, std::string> metadata_of(const fs::path& file) {
    std::map<std::string, std::string> metadata;
    read_safetensors(file, &metadata);
    return metadata;
}

void expect_same_tensors(const fs::path& a, const fs::path& b) {
    const auto of_a = read_safetensors(a), of_b = read_safetensors(b);
    ASSERT_EQ(of_a.size(), of_b.size());
    for (const auto& [name, tensor] : of_a) EXPECT_EQ(tensor.bytes, of_b.at(name).bytes) << name;
}

TEST_F(TrainingRun, ValidationLeavesTheTrainingsBytesAlone) {
    train_in(folder() / "without", tiny(split_with(0)));
    train_in(folder() / "with", tiny(joined(split_with(3), {"validate_every=3", "validate_share=1"})));
    expect_same_tensors(folder() / "without/model.safetensors", folder() / "with/model.safetensors");
    std::vector<double> losses, losses_with;
    int passes = 0;
    for (const auto& line : log_of(folder() / "without")) losses.push_back(line.at("loss"));
    for (const auto& line : log_of(folder() / "with"))
        if (line.contains("validation"))
            ++passes;
        else
            losses_with.push_back(line.at("loss"));
    EXPECT_EQ(losses, losses_with);
    EXPECT_EQ(passes, 4);
    for (const char* file : {"best.safetensors", "operating_point.json"})
        EXPECT_FALSE(fs::exists(folder() / "without" / file)) << file;
    EXPECT_FALSE(metadata_of(folder() / "without/model.safetensors").contains("operating_point"));
}

TEST_F(TrainingRun, ThePassesTheBestWeightsAndTheRuleOfMasksAreKept) {
    const fs::path run = folder() / "followed";
    train_in(run, tiny(joined(split_with(3), {"epochs=5", "learning_rate=0.1", "validate_share=1"})));
    const std::vector<ValidationScore> scores = read_validation_scores(run / "log.jsonl");
    ASSERT_EQ(scores.size(), 5u) << "once an epoch";
    const ValidationScore* best = best_of(scores);
    for (std::size_t i = 0; i < scores.size(); ++i) {
        EXPECT_EQ(scores[i].step, static_cast<std::int64_t>(4 * (i + 1)));
        EXPECT_EQ(scores[i].scans, 3);
        EXPECT_GT(scores[i].lesions, 0);
        EXPECT_EQ(scores[i].sensitivity.size(), 7u);
        EXPECT_TRUE(std::isfinite(scores[i].loss));
        EXPECT_FALSE(scores[i].better_than(*best));
    }
    EXPECT_EQ(metadata_of(run / "best.safetensors").at("step"), std::to_string(best->step));
    const OperatingPoint point = parse_operating_point(read_text(run / "operating_point.json"), "run");
    EXPECT_EQ(parse_operating_point(metadata_of(run / "model.safetensors").at("operating_point"), "weights"), point);
    EXPECT_EQ(point.step, 20);
    EXPECT_EQ(point.scans, 3);
    EXPECT_FALSE(point.on_test_scans);
    EXPECT_EQ(parse_operating_point(metadata_of(run / "best.safetensors").at("operating_point"), "best").step,
              best->step);
}

TEST_F(TrainingRun, TheBestWeightsAreThoseOfItsStep) {
    // The same training ended where the best pass came has, as its last weights, the best ones.
    const fs::path run = folder() / "long", shorter = folder() / "short";
    const auto settings = joined(split_with(2), {"learning_rate=0.2", "validate_share=1", "lr_schedule=[]"});
    train_in(run, tiny(joined(settings, {"epochs=6"})));
    const std::vector<ValidationScore> scores = read_validation_scores(run / "log.jsonl");
    const std::int64_t best = best_of(scores)->step;
    train_in(shorter, tiny(joined(settings, {fmt::format("epochs={}", best / 4)})));
    expect_same_tensors(run / "best.safetensors", shorter / "model.safetensors");
}

TEST_F(TrainingRun, AResumedTrainingMakesEachPassOnce) {
    const fs::path whole = folder() / "whole", broken = folder() / "broken_off";
    const auto settings =
        joined(split_with(3), {"validate_every=2", "validate_share=1", "checkpoint_every=3", "epochs=3"});
    train_in(whole, tiny(settings));
    train_in(broken, tiny(settings));
    const auto without_times = [](const fs::path& run) {
        std::vector<nlohmann::json> lines = log_of(run);
        for (auto& line : lines) {
            line.erase("seconds");
            line.erase("wait");
            if (line.contains("validation")) line["validation"].erase("seconds");
        }
        return lines;
    };
    // As if it had been killed in the pass after step 8: its checkpoint is there, its line is not, nor what came later.
    std::string kept;
    for (const auto& line : log_of(broken))
        if (line.at("step") < 8 || (line.at("step") == 8 && !line.contains("validation"))) kept += line.dump() + "\n";
    write_text(broken / "log.jsonl", kept);
    for (const char* file : {"model.safetensors", "best.safetensors", "operating_point.json"})
        fs::remove(broken / file);
    for (const auto& entry : fs::directory_iterator(broken / "checkpoints")) fs::remove_all(entry);
    Config to_8 = tiny(settings);
    to_8.steps_per_epoch = 4;
    to_8.epochs = 2;
    train_in(folder() / "to_8", to_8);
    fs::copy(folder() / "to_8/checkpoints/step_8", broken / "checkpoints/step_8", fs::copy_options::recursive);
    fs::copy(folder() / "to_8/best.safetensors", broken / "best.safetensors");
    train_in(broken, tiny(settings));
    EXPECT_EQ(without_times(broken), without_times(whole));
    EXPECT_EQ(read_text(broken / "model.safetensors"), read_text(whole / "model.safetensors"));
    EXPECT_EQ(read_text(broken / "operating_point.json"), read_text(whole / "operating_point.json"));
    EXPECT_EQ(read_text(broken / "best.safetensors"), read_text(whole / "best.safetensors"));
}

TEST_F(TrainingRun, AFoldsScansAreSaidToBeTestScansToo) {
    write_text(folder() / "data/splits_final.json",
               R"([{"train": ["phantom_000", "phantom_001"], "val": ["phantom_002", "phantom_003"]},
                   {"train": ["phantom_002", "phantom_003"], "val": ["phantom_000", "phantom_004"]}])");
    const fs::path run = folder() / "fold_1";
    train_in(run, tiny({"fold=1", "epochs=1", "validate_share=1"}));
    const Split split = read_split(run / "split.json");
    EXPECT_EQ(split.train, (std::vector<std::string>{"phantom_002", "phantom_003"}));
    EXPECT_EQ(split.test, (std::vector<std::string>{"phantom_000", "phantom_004"}));
    EXPECT_TRUE(parse_operating_point(read_text(run / "operating_point.json"), "run").on_test_scans);
    EXPECT_THROW(train_in(folder() / "fold_2", tiny({"fold=2"})), InputError);
    EXPECT_THROW(tiny(joined(split_with(1), {"fold=1"})), InputError) << "the split is named already";
    EXPECT_EQ(chosen_folds("all", folder() / "data"), (std::vector<int>{0, 1}));
    EXPECT_EQ(chosen_folds("1", folder() / "data"), (std::vector<int>{1}));
    for (const char* bad : {"2", "-1", "one", "", "1.5"})
        EXPECT_THROW(chosen_folds(bad, folder() / "data"), InputError) << bad;
    EXPECT_EQ(fold_runs("all", folder()), (std::vector<fs::path>{run}));
    fs::remove(folder() / "data/splits_final.json");
    EXPECT_THROW(chosen_folds("all", folder() / "data"), InputError);
    EXPECT_THROW(train_in(folder() / "other", tiny({"fold=1"})), InputError);
}

TEST(ValidationPlan, TakesTheScansThatFitAndElsePassesLessOften) {
    // 10 steps of 100 voxels: 3000 voxels' work, of which 30 % are 900.
    const ValidationBudget budget{10, 1000, 0.3};
    const ValidationPlan all = plan_validation({300, 300, 300}, budget);
    EXPECT_EQ(all.scans, (std::vector<std::size_t>{0, 1, 2}));
    EXPECT_EQ(all.every, 10);
    EXPECT_NEAR(all.share, 0.3, 1e-12);
    const ValidationPlan some = plan_validation({300, 700, 500, 200}, budget);
    EXPECT_EQ(some.scans, (std::vector<std::size_t>{0, 2}));
    EXPECT_NEAR(some.share, 800.0 / 3000, 1e-12);
    const ValidationPlan rare = plan_validation({9000, 2000, 3000}, budget);
    EXPECT_EQ(rare.scans, (std::vector<std::size_t>{1}));
    EXPECT_EQ(rare.every, 30) << "2000 of 9000 is the first share within 30 %";
    EXPECT_LE(rare.share, 0.3);
}

TEST(ValidationScore, BetterIsRecallThenDice) {
    const auto score = [](double recall, double dice) {
        ValidationScore made;
        made.average_recall = recall;
        made.dice = dice;
        return made;
    };
    EXPECT_TRUE(score(0.5, 0.1).better_than(score(0.4, 0.9)));
    EXPECT_TRUE(score(0.5, 0.2).better_than(score(0.5, 0.1)));
    EXPECT_FALSE(score(0.5, 0.1).better_than(score(0.5, 0.1)));
    const std::vector<ValidationScore> scores{score(0.1, 0), score(0.5, 0.3), score(0.5, 0.3), score(0.5, 0.2)};
    EXPECT_EQ(best_of(scores), &scores[1]) << "of equal ones the first";
    EXPECT_EQ(best_of({}), nullptr);
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
