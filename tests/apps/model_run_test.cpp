// `iwseg predict --model`: files beside those that nnUNetv2_predict writes.
#include "apps/prediction/model_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "data/volume/orientation.h"
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

/// The scan with its axes in another order and the first of them reversed, where it was.
Volume<float> reordered(const Volume<float>& scan, const std::array<std::size_t, 3>& axes) {
    const auto& from = scan.geometry.shape;
    Volume<float> made;
    for (std::size_t a = 0; a < 3; ++a) {
        made.geometry.shape[a] = from[axes[a]];
        for (std::size_t row = 0; row < 3; ++row) {
            made.geometry.affine[row][a] = scan.geometry.affine[row][axes[a]] * (a == 0 ? -1 : 1);
            if (a == 0) made.geometry.affine[row][3] = scan.geometry.affine[row][3];
        }
    }
    for (std::size_t row = 0; row < 3; ++row)
        made.geometry.affine[row][3] +=
            scan.geometry.affine[row][axes[0]] * static_cast<double>(made.geometry.shape[0] - 1);
    const auto& to = made.geometry.shape;
    for (std::int64_t i = 0; i < to[0]; ++i)
        for (std::int64_t j = 0; j < to[1]; ++j)
            for (std::int64_t k = 0; k < to[2]; ++k) {
                std::array<std::int64_t, 3> at{};
                at[axes[0]] = to[0] - 1 - i, at[axes[1]] = j, at[axes[2]] = k;
                made.voxels.push_back(
                    scan.voxels[static_cast<std::size_t>((at[0] * from[1] + at[1]) * from[2] + at[2])]);
            }
    return made;
}

TEST_F(ModelRuns, OfReadersThatWantRasFormsDoNotDependOnTheFilesOrientation) {
    const path scans = out_ / "scans", model = out_ / "model";
    std::filesystem::create_directories(scans);
    std::filesystem::copy(model_ / "model", model, std::filesystem::copy_options::recursive);
    std::string plans = read_text(model / "plans.json");
    const std::string reader = "\"SimpleITKIO\"";
    plans.replace(plans.find(reader), reader.size(), "\"NibabelIOWithReorient\"");
    write_text(model / "plans.json", plans);
    // The golden scan lies LAS: reversed it is RAS, which both readers hand on as it is.
    for (const std::string channel : {"_0000.nii.gz", "_0001.nii.gz"}) {
        const Volume<float> ras = reordered(read_image(model_ / "imagesTs" / ("case_1" + channel)), {0, 1, 2});
        ASSERT_TRUE(orientation_of(ras.geometry.affine, OrientationRule::nibabel).is_ras());
        write_volume(scans / ("ras" + channel), ras);
        write_volume(scans / ("other" + channel), reordered(reordered(ras, {2, 0, 1}), {1, 0, 2}));
    }
    ModelRun wanted = run(scans);
    wanted.out = out_ / "as_is";
    wanted.cases = {"ras"};
    wanted.probabilities = true;
    predict_with_model(wanted);
    wanted.out = out_ / "reoriented";
    wanted.model = model;
    wanted.cases = {};
    predict_with_model(wanted);
    const auto labels = [&](const char* file) { return read_image(out_ / file); };
    const Volume<float> expected = labels("as_is/ras.nii.gz"), other = labels("reoriented/other.nii.gz");
    EXPECT_GT(std::count_if(expected.voxels.begin(), expected.voxels.end(), [](float x) { return x > 0; }), 100);
    EXPECT_EQ(labels("reoriented/ras.nii.gz").voxels, expected.voxels);
    EXPECT_EQ(other.voxels, reordered(reordered(expected, {2, 0, 1}), {1, 0, 2}).voxels);
    EXPECT_EQ(other.geometry.affine, read_geometry(scans / "other_0000.nii.gz").affine);
    EXPECT_NE(other.geometry.shape, expected.geometry.shape);
    // Probabilities are nnU-Net's arrays of the RAS form.
    const NumpyArray of_ras = read_npz(out_ / "as_is/ras.npz", "probabilities"),
                     of_other = read_npz(out_ / "reoriented/other.npz", "probabilities");
    EXPECT_EQ(of_other.shape, of_ras.shape);
    EXPECT_EQ(of_other.values, of_ras.values);
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
