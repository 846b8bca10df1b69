#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "apps/config/config.h"
#include "apps/training/training_run.h"
#include "base/error.h"
#include "data/preparation.h"

// Images with voxels that are not finite, and the key nan.
namespace iwseg {
namespace {

using std::filesystem::path;

class NotFinite : public testing::Test {
  protected:
    NotFinite() {
        folder_ = std::filesystem::temp_directory_path() / ("iwseg_nan_" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder_);
        std::mt19937 random{std::random_device{}()};
        std::normal_distribution<float> value(100, 20);
        scan_.geometry.shape = {6, 5, 4};
        scan_.voxels.resize(120);
        for (float& voxel : scan_.voxels) voxel = value(random);
        bad_ = scan_;
        for (const auto& [v, what] : {std::pair(3, NAN), {50, HUGE_VALF}, {51, -HUGE_VALF}, {119, NAN}}) {
            bad_.voxels[v] = what;
            scan_.voxels[v] = 0;
        }
        mask_ = scan_;
        mask_.voxels.assign(120, 1.0f);
        mask_.voxels[7] = NAN;
        write_volume(folder_ / "scan.nii", scan_);
        write_volume(folder_ / "bad.nii", bad_);
        write_volume(folder_ / "mask.nii", mask_);
        options_.with_label = false;
        dataset_.folder = folder_;
        dataset_.channels = {"CT"};
    }
    ~NotFinite() override { std::filesystem::remove_all(folder_); }

    PreparedCase prepared(const std::vector<std::string>& files) const {
        Case scan{"a", {}, std::nullopt};
        for (const std::string& file : files) scan.images.push_back(folder_ / file);
        return prepare_case(dataset_, scan, options_);
    }

    path folder_;
    Volume<float> scan_, bad_, mask_;
    Dataset dataset_;
    PreparationOptions options_;
};

TEST_F(NotFinite, AnImageIsRefusedInASentenceThatNamesTheKey) {
    try {
        prepared({"bad.nii"});
        FAIL() << "read";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("bad.nii holds nan at voxel 3"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("nan = 0"), std::string::npos) << error.what();
    }
}

TEST_F(NotFinite, VoxelsBecomeTheKeysValueBeforeTheIntensityStepAndAreCounted) {
    options_.intensity.kind = Intensity::Kind::zscore;
    options_.nan = 0;
    const PreparedCase bad = prepared({"bad.nii"}), whole = prepared({"scan.nii"});
    EXPECT_EQ(bad.image, whole.image);
    EXPECT_EQ(bad.replaced, 4);
    EXPECT_EQ(whole.replaced, 0);
    options_.nan = -1000.0f;
    options_.intensity.kind = Intensity::Kind::none;
    EXPECT_EQ(prepared({"bad.nii"}).image[50], -1000.0f);
}

TEST_F(NotFinite, AMaskIsOutsideThere) {
    dataset_.channels = {"CT", "mask"};
    options_.mask_channel = "mask";
    EXPECT_THROW(prepared({"scan.nii", "mask.nii"}), InputError);
    options_.nan = 5.0f;  // would be inside
    const PreparedCase scan = prepared({"scan.nii", "mask.nii"});
    EXPECT_EQ(scan.image[7], *std::min_element(scan_.voxels.begin(), scan_.voxels.end()));
    EXPECT_EQ(scan.replaced, 1);
}

TEST_F(NotFinite, TheTerminalHearsOfItOnceADataset) {
    options_.nan = 0;
    ReplacedVoxels replaced;
    EXPECT_EQ(replaced.line(options_), "");
    for (const char* file : {"bad.nii", "scan.nii", "bad.nii"}) replaced.add(prepared({file}));
    EXPECT_EQ(replaced.line(options_), "nan      8 voxels of 2 scans were not finite and became 0\n");
}

TEST(NanKey, IsANumberOrRefuseAndTravelsWithTheWeights) {
    Config config;
    EXPECT_FALSE(config.nan);
    EXPECT_FALSE(preparation_options(config).nan);
    apply_setting(config, "nan=0");
    EXPECT_EQ(config.nan, 0.0);
    apply_setting(config, "nan=-1000.5");
    check_config(config);
    Config read;
    apply_toml(read, model_metadata(config, {"CT"}).at("config"), "metadata");
    EXPECT_EQ(preparation_options(read).nan, -1000.5f);
    apply_setting(read, "nan=refuse");
    EXPECT_FALSE(read.nan);
    for (const char* bad : {"nan=nan", "nan=inf", "nan=1e39"}) {
        Config wrong;
        apply_setting(wrong, bad);
        EXPECT_THROW(check_config(wrong), InputError) << bad;
    }
    EXPECT_THROW(apply_setting(read, "nan=keep"), InputError);
}

}  // namespace
}  // namespace iwseg
