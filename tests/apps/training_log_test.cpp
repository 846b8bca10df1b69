#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/training/training_run.h"
#include "data/phantom.h"
#include "engine/context.h"

// What log.jsonl says of each step.
namespace iwseg {
namespace {

namespace fs = std::filesystem;

class TrainingLog : public testing::Test {
  protected:
    TrainingLog() {
        PhantomOptions options;
        options.folder = folder_ / "data";
        options.cases = 3;
        options.size = 32;
        write_phantom_dataset(options);
    }
    ~TrainingLog() override { fs::remove_all(folder_); }

    /// Lines of the steps of a training with these settings.
    std::vector<nlohmann::json> steps(const std::vector<std::string>& settings) {
        std::vector<std::string> all{"widths=[2,3,4,5]",  "patch=16",   "epochs=1",
                                     "steps_per_epoch=3", "threads=1",  "workers=1",
                                     "validate_share=0",  "nan=refuse", "intensity={window=[-200,300]}"};
        all.insert(all.end(), settings.begin(), settings.end());
        const fs::path run = folder_ / fmt::format("run_{}", runs_++);
        Context context({.device = "cpu", .threads = 1});
        EXPECT_TRUE(train(context, resolve_config(std::nullopt, all), folder_ / "data", RunFolder(run)));
        std::vector<nlohmann::json> lines;
        std::ifstream in(run / "log.jsonl");
        for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
        EXPECT_EQ(lines.size(), 3u);
        return lines;
    }

    void expect_terms(const std::vector<std::string>& settings, const std::vector<std::string>& names) {
        for (const nlohmann::json& line : steps(settings)) {
            const auto terms = line.at("terms").get<std::map<std::string, double>>();
            double sum = 0;
            for (const auto& [name, value] : terms) sum += value;
            ASSERT_EQ(terms.size(), names.size()) << line;
            for (const std::string& name : names) EXPECT_TRUE(terms.contains(name)) << line;
            EXPECT_NEAR(sum, line.at("loss").get<double>(), 1e-6) << line;  // values are around 1, in f64 of f32 sums
        }
    }

  private:
    fs::path folder_ = fs::path(testing::TempDir()) / fmt::format("training_log_{}", ::getpid());
    int runs_ = 0;
};

}  // namespace

TEST_F(TrainingLog, EachOfSeveralTermsIsThereAndTheyAddUpToTheLoss) {
    expect_terms({"loss=dice + ce + 0.1*cat @warmup 1"}, {"dice", "ce", "cat"});
    expect_terms({"loss=iwdice + 2*ce + blob(dice + ce)", "accumulate=2"}, {"iwdice", "ce", "blob(dice + ce)"});
}

TEST_F(TrainingLog, TermsOfOneNameAreOne) {
    expect_terms({"loss=ce + dice + dice @warmup 1"}, {"dice", "ce"});
}

TEST_F(TrainingLog, TermsOfSeveralResolutionsAndClassesAreAddedUp) {
    expect_terms({"loss=dice + ce", "network=plain_unet", "deep_supervision=true"}, {"dice", "ce"});
    expect_terms({"loss=dice + ce + 0.5*mil", "classes=lesion=1"}, {"dice", "ce", "mil"});
}

TEST_F(TrainingLog, ALossOfOneTermIsThatTerm) {
    for (const nlohmann::json& line : steps({"loss=iwdl"})) EXPECT_FALSE(line.contains("terms")) << line;
}

}  // namespace iwseg
