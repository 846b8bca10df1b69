#include <gtest/gtest.h>
#include <sys/wait.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "evaluation/records.h"
#include "tests/studies/raw_studies.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

struct Result {
    int code = -1;
    std::string out, error;
};

/// Runs the program in a folder of its own.
class PrepareCommand : public testing::Test {
  protected:
    PrepareCommand() { std::cout << "seed " << seed_ << "\n"; }

    Result iwseg(const std::string& arguments) {
        const fs::path out = folder_ / "out.txt", error = folder_ / "error.txt";
        const int status = std::system(fmt::format("cd {} && OMP_NUM_THREADS=2 {} {} > out.txt 2> error.txt",
                                                   (folder_ / "").string(), IWSEG_PROGRAM, arguments)
                                           .c_str());
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text(out), read_text(error)};
    }
    void expect_done(const std::string& arguments) {
        const Result result = iwseg(arguments);
        ASSERT_EQ(result.code, 0) << arguments << "\n" << result.out << result.error;
    }

    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
    ScratchFolder folder_;
};

TEST_F(PrepareCommand, LunaIsPreparedTrainedPredictedAndEvaluatedByItsHoldoutSplit) {
    const std::vector<RawLunaScan> scans = write_luna(folder_ / "raw", random_, 1);
    expect_done("prepare luna16 --raw raw --out data --threads 2");
    write_text(
        folder_ / "luna.toml",
        "split = \"holdout\"\nintensity = {window = [-1000, 300]}\nmask_channel = \"lungs\"\nwidths = [2, 3, 4, 5]\n"
        "patch = 16\nepochs = 1\nsteps_per_epoch = 4\npredict = {patch = 32, stride = 24}\n");
    expect_done("run --data data --config luna.toml --out run");
    const Split split = named_split(open_dataset(folder_ / "data"), "holdout");
    const Records records = read_records(folder_ / "run" / "records.json");
    ASSERT_EQ(records.size(), 2u);
    for (const RawLunaScan& scan : scans) EXPECT_EQ(records.contains(scan.uid), scan.subset >= 8) << scan.uid;
    const auto used = nlohmann::json::parse(read_text(folder_ / "run" / "split.json"));
    EXPECT_EQ(used.at("train").get<std::vector<std::string>>(), split.train);
    EXPECT_EQ(used.at("validation").size(), 5u);
    const Result unknown = iwseg("train --data data --config luna.toml --set split=holdot --out other");
    EXPECT_EQ(unknown.code, 2);
    EXPECT_NE(unknown.error.find("did you mean holdout?"), std::string::npos) << unknown.error;
}

TEST_F(PrepareCommand, BadScansGiveExitCode2AndOneSentenceOnceTheRestIsDone) {
    for (const int number : {0, 1, 30, 40, 41})
        write_lits_scan(folder_ / "raw", draw_lits_scan(random_, number), number % 2 == 1);
    fs::remove(folder_ / "raw/Training Batch 1/segmentation-1.nii.gz");
    const Result result = iwseg("prepare lits --raw raw --out data");
    EXPECT_EQ(result.code, 2);
    EXPECT_EQ(std::count(result.error.begin(), result.error.end(), '\n'), 1) << result.error;
    EXPECT_NE(result.error.find("1 of 5 scans could not be prepared"), std::string::npos) << result.error;
    EXPECT_NE(result.out.find("left out 1: "), std::string::npos) << result.out;
    EXPECT_EQ(open_dataset(folder_ / "data").cases.size(), 4u);
    expect_done("prepare lits --raw raw --out data --exclude 1,30");
    EXPECT_EQ(open_dataset(folder_ / "data").cases.size(), 3u);
    EXPECT_EQ(iwseg("prepare lits --raw raw --out new --exclude 13").code, 2);
    EXPECT_EQ(iwseg("prepare brats --raw raw --out new").code, 2);
    EXPECT_EQ(iwseg("prepare lits --raw nowhere --out new").code, 2);
    EXPECT_FALSE(fs::exists(folder_ / "new"));
}

}  // namespace
}  // namespace iwseg
