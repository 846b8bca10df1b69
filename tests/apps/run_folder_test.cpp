#include "apps/run_folder/run_folder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <random>

#include "apps/run_folder/checkpoint.h"
#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// An empty folder that lives as long as the test.
class RunFolderTest : public testing::Test {
  protected:
    void SetUp() override {
        root_ = fs::path(testing::TempDir()) / fmt::format("run_folder_{}", ::getpid());
        fs::remove_all(root_);
        fs::create_directories(root_);
    }
    void TearDown() override { fs::remove_all(root_); }

    fs::path root_;
};
using StepLogTest = RunFolderTest;
using CheckpointTest = RunFolderTest;

TEST_F(RunFolderTest, SecondOwnerIsRefused) {
    const RunFolder first(root_ / "run");
    EXPECT_THROW(RunFolder(root_ / "run"), InputError);
}

TEST_F(RunFolderTest, CrashFreesTheLock) {
    const fs::path run = root_ / "run";
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t owner = ::fork();
    if (owner == 0) {
        const RunFolder folder(run);
        const char byte = 1;
        if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
        ::pause();
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    EXPECT_THROW(RunFolder{run}, InputError);
    ::kill(owner, SIGKILL);
    ::waitpid(owner, nullptr, 0);
    EXPECT_NO_THROW(RunFolder{run});
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST_F(RunFolderTest, ATrainingThatDoesNotBeginLeavesNothingBehind) {
    {
        const RunFolder run(root_ / "run");
        write_text(run.inputs(), "{}");
    }
    EXPECT_FALSE(fs::exists(root_ / "run"));
    {
        const RunFolder run(root_ / "run");
        write_text(run.inputs(), "{}");
        write_text(run.config(), "");
    }
    EXPECT_TRUE(fs::exists(root_ / "run/inputs.json"));
}

TEST_F(RunFolderTest, NothingKeptLeavesNothingBehind) {
    { const RunFolder folder(root_ / "new"); }
    EXPECT_FALSE(fs::exists(root_ / "new"));
    {
        const RunFolder folder(root_ / "used");
        write_text(folder.config(), "batch = 2\n");
    }
    EXPECT_TRUE(fs::exists(root_ / "used" / "config.toml"));
    fs::create_directories(root_ / "mine");
    { const RunFolder folder(root_ / "mine"); }
    EXPECT_TRUE(fs::exists(root_ / "mine"));
}

TEST_F(RunFolderTest, FileOfThatNameIsRefused) {
    write_text(root_ / "file", "text");
    EXPECT_THROW(RunFolder(root_ / "file"), InputError);
}

TEST_F(StepLogTest, ResumeKeepsWholeLinesUpToTheStep) {
    const fs::path file = root_ / "log.jsonl";
    {
        StepLog log(file, 0);
        for (int step = 1; step <= 5; ++step) log.append(fmt::format("{{\"step\": {}}}", step));
    }
    std::ofstream(file, std::ios::app) << "{\"step\": 6, \"lo";  // torn by a crash
    { StepLog log(file, 10); }
    EXPECT_EQ(read_text(file), "{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3}\n{\"step\": 4}\n{\"step\": 5}\n");
    {
        StepLog log(file, 3);
        log.append("{\"step\": 4, \"again\": true}");
    }
    EXPECT_EQ(read_text(file), "{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3}\n{\"step\": 4, \"again\": true}\n");
    { StepLog log(file, 0); }
    EXPECT_EQ(read_text(file), "");
}

/// Parameters and an optimizer of theirs with momentum.
struct Trained {
    Parameters parameters;
    std::unique_ptr<Optimizer> optimizer;

    std::vector<float>& momentum() const { return optimizer->array(""); }
};

Trained random_parameters(std::mt19937& random) {
    Parameters parameters;
    parameters.declare({"weight", {3, 5}});
    parameters.declare({"bias", {3}});
    parameters.declare({"bn.running_mean", {4}, {}, false});
    parameters.declare({"bn.running_var", {4}, {}, false});
    std::normal_distribution<float> normal;
    for (int i = 0; i < parameters.size(); ++i)
        for (std::int64_t k = 0; k < parameters[{i}].elements; ++k) parameters.value({i})[k] = normal(random);
    float* variance = parameters.value(parameters.find("bn.running_var"));
    std::transform(variance, variance + 4, variance, [](float value) { return std::abs(value); });
    parameters.set_batches_tracked(static_cast<std::int64_t>(random() % 1000));
    Trained made{parameters, std::make_unique<Optimizer>(parameters, OptimizerOptions{})};
    for (float& value : made.momentum()) value = normal(random);
    return made;
}

TEST_F(CheckpointTest, LoadsWhatWasSavedAndKeepsTheLastTwo) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937 random(seed);
    Trained last;
    for (const std::int64_t step : {9, 10, 100}) {
        last = random_parameters(random);
        save_checkpoint(root_, step, last.parameters, *last.optimizer, {});
    }
    Trained loaded = random_parameters(random);
    EXPECT_EQ(load_newest_checkpoint(root_, loaded.parameters, *loaded.optimizer), 100);
    EXPECT_EQ(loaded.parameters.values(), last.parameters.values());
    EXPECT_EQ(loaded.momentum(), last.momentum());
    EXPECT_EQ(loaded.parameters.batches_tracked(), last.parameters.batches_tracked());
    for (int k = 0; k < 4; ++k) EXPECT_EQ(loaded.parameters.value({2})[k], last.parameters.value({2})[k]);
    EXPECT_FALSE(fs::exists(root_ / "step_9"));
    EXPECT_TRUE(fs::exists(root_ / "step_10"));
}

TEST_F(CheckpointTest, DamagedOneIsPassedOver) {
    std::mt19937 random(std::random_device{}());
    Trained older = random_parameters(random), newer = random_parameters(random), loaded = random_parameters(random);
    save_checkpoint(root_, 4, older.parameters, *older.optimizer, {});
    save_checkpoint(root_, 8, newer.parameters, *newer.optimizer, {});
    const fs::path model = root_ / "step_8" / "optimizer.safetensors";
    fs::resize_file(model, fs::file_size(model) - 1);
    EXPECT_EQ(load_newest_checkpoint(root_, loaded.parameters, *loaded.optimizer), 4);
    EXPECT_EQ(loaded.parameters.values(), older.parameters.values());
    EXPECT_EQ(loaded.momentum(), older.momentum());
    // With none left to fall back on, starting anew would throw the training away unasked.
    fs::remove_all(root_ / "step_4");
    EXPECT_THROW(load_newest_checkpoint(root_, loaded.parameters, *loaded.optimizer), InputError);
}

TEST_F(CheckpointTest, UnfinishedOneIsNeverRead) {
    std::mt19937 random(std::random_device{}());
    Trained trained = random_parameters(random);
    save_checkpoint(root_, 4, trained.parameters, *trained.optimizer, {});
    fs::copy(root_ / "step_4", root_ / "step_9.part", fs::copy_options::recursive);
    EXPECT_EQ(newest_checkpoint_step(root_), 4);
    save_checkpoint(root_, 5, trained.parameters, *trained.optimizer, {});
    EXPECT_FALSE(fs::exists(root_ / "step_9.part"));
}

TEST_F(CheckpointTest, NoneIsStepZero) {
    Parameters parameters;
    Optimizer optimizer(parameters, {});
    EXPECT_EQ(load_newest_checkpoint(root_ / "missing", parameters, optimizer), 0);
}

}  // namespace
}  // namespace iwseg
