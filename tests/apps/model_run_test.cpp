// `iwseg predict --model`: files beside those that nnUNetv2_predict writes.
#include "apps/prediction/model_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "data/volume/volume.h"
#include "tests/nnunet/npz.h"
#include "tests/support/golden.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

using std::filesystem::path;

class ModelRuns : public testing::Test {
  protected:
    void SetUp() override {
        if (!std::filesystem::exists(model_)) GTEST_SKIP() << "needs " << model_;
    }
    void TearDown() override { std::filesystem::remove_all(out_); }
    ModelRun run(const path& input) const {
        return {.model = model_ / "model", .out = out_, .input = {input}, .mirror = false};
    }

    path model_ = golden_file("nnunet") / "resenc",
         out_ = std::filesystem::temp_directory_path() / ("model_run_" + std::to_string(getpid()));
};

TEST_F(ModelRuns, WriteWhatNnunetWrites) {
    ModelRun wanted = run(model_ / "imagesTs");
    wanted.probabilities = true;
    wanted.cases = {"case_1"};
    predict_with_model(wanted);
    EXPECT_FALSE(std::filesystem::exists(out_ / "case_0.nii.gz"));
    const Volume<std::int32_t> made = read_labels(out_ / "case_1.nii.gz"),
                               expected = read_labels(model_ / "expected_no_tta" / "case_1.nii.gz");
    require_same_geometry(made.geometry, "made", expected.geometry, "expected");
    std::int64_t others = 0;
    for (std::size_t v = 0; v < expected.voxels.size(); ++v) others += made.voxels[v] != expected.voxels[v];
    EXPECT_LE(others, std::ssize(expected.voxels) / 1000);
    const NumpyArray probabilities = read_npz(out_ / "case_1.npz", "probabilities");
    EXPECT_EQ(probabilities.shape, (std::vector<std::int64_t>{2, 9, 48, 40}));
}

TEST_F(ModelRuns, SayWhatScansLack) {
    EXPECT_TRUE(says(refusal([&] { predict_with_model(run(golden_file("nnunet") / "plain" / "imagesTs")); }),
                     "have not the channels"));
    ModelRun wanted = run(model_ / "imagesTs");
    wanted.cases = {"case_7"};
    EXPECT_TRUE(says(refusal([&] { predict_with_model(wanted); }), "case_7"));
    wanted.cases = {};
    wanted.precision = "half";
    EXPECT_TRUE(says(refusal([&] { predict_with_model(wanted); }), "--precision half"));
    EXPECT_FALSE(std::filesystem::exists(out_)) << "a folder was made before the work";
}

}  // namespace
}  // namespace iwseg
