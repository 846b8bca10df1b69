// plans.json and dataset.json: those that nnU-Net wrote, and what of them is not usable or not supported.
#include "nnunet/plans.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/json_file.h"
#include "engine/graph.h"
#include "tests/support/golden.h"
#include "tests/support/refusal.h"

namespace iwseg::nnunet {
namespace {

using Json = nlohmann::ordered_json;
using std::filesystem::path;

/// A model's files, read and changed before they are read again.
class NnunetPlans : public testing::Test {
  protected:
    void SetUp() override {
        if (!std::filesystem::exists(golden_file("nnunet"))) GTEST_SKIP() << "needs " << golden_file("nnunet");
        open("plain");
    }
    void TearDown() override { std::filesystem::remove(file_); }

    void open(const std::string& model) {
        folder_ = golden_file("nnunet") / model / "model";
        plans_ = read_ordered_json(folder_ / "plans.json");
        dataset_json_ = read_ordered_json(folder_ / "dataset.json");
    }
    Json& configuration() { return plans_["configurations"]["3d_fullres"]; }
    Json& arguments() { return configuration()["architecture"]["arch_kwargs"]; }
    Dataset dataset() { return read_dataset(written(dataset_json_)); }
    Plans plans(const std::string& name = "3d_fullres") {
        const Dataset of = dataset();
        return read_plans(written(plans_), name, of);
    }
    std::string refused(const std::function<void()>& change, const std::string& name = "3d_fullres") {
        const Json plans_before = plans_, dataset_before = dataset_json_;
        change();
        const std::string sentence = refusal([&] { plans(name); });
        plans_ = plans_before, dataset_json_ = dataset_before;
        EXPECT_TRUE(sentence.starts_with(file_.string())) << sentence;
        return sentence;
    }

    path folder_, file_ = std::filesystem::temp_directory_path() / ("nnunet_" + std::to_string(getpid()) + ".json");
    Json plans_, dataset_json_;

  private:
    const path& written(const Json& json) {
        std::ofstream(file_) << json;
        return file_;
    }
};

TEST_F(NnunetPlans, OfExclusiveClasses) {
    const Dataset data = dataset();
    EXPECT_EQ(data.channels, std::vector<std::string>{"CT"});
    EXPECT_EQ(data.file_ending, ".nii.gz");
    EXPECT_EQ(data.labels.names, (std::vector<std::string>{"background", "liver", "tumour"}));
    EXPECT_FALSE(data.labels.has_regions());
    const Plans read = plans();
    EXPECT_EQ(read.configuration.patch, Sides(32, 24, 32));
    EXPECT_EQ(read.configuration.spacing, (std::array<double, 3>{1.1, 0.9, 0.9}));
    EXPECT_EQ(read.configuration.normalisations, std::vector<Normalisation>{Normalisation::ct});
    EXPECT_EQ(read.configuration.normalise_nonzero, std::vector<bool>{false});
    EXPECT_EQ(read.configuration.of_images.order, 3);
    EXPECT_EQ(read.configuration.of_logits.order, 1);
    EXPECT_FALSE(read.configuration.of_images.force_separate_z);
    EXPECT_FLOAT_EQ(static_cast<float>(read.intensities[0].mean), -79.489410f);
    EXPECT_EQ(read.network.name, "plain_unet");
    EXPECT_EQ(read.network.widths, (std::vector<int>{4, 8, 12}));
    EXPECT_EQ(read.network.out_channels, 3);
}

TEST_F(NnunetPlans, OfRegions) {
    open("resenc");
    const Dataset data = dataset();
    EXPECT_EQ(data.labels.names, (std::vector<std::string>{"whole", "core"}));
    EXPECT_EQ(data.labels.region_values, (std::vector<std::int32_t>{1, 2}));
    const Plans read = plans();
    EXPECT_EQ(read.network.name, "residual_encoder_unet");
    EXPECT_EQ(read.network.in_channels, 2);
    EXPECT_EQ(read.network.out_channels, 2);
    EXPECT_EQ(read.configuration.normalise_nonzero, (std::vector<bool>{true, true}));
    dataset_json_["labels"]["ignore"] = 3;
    EXPECT_EQ(dataset().labels.outputs(), 2) << "voxels to ignore are no class";
    // In the order in which the labels are written, not that of their names.
    dataset_json_["labels"] = Json::parse(R"({"background": 0, "whole": [1, 2, 3], "enhancing": 3, "core": [2, 3]})");
    dataset_json_["regions_class_order"] = {1, 3, 2};
    EXPECT_EQ(dataset().labels.names, (std::vector<std::string>{"whole", "enhancing", "core"}));
    EXPECT_EQ(dataset().labels.region_values, (std::vector<std::int32_t>{1, 3, 2}));
    dataset_json_["labels"].erase("core");
    dataset_json_["regions_class_order"] = {1};
    EXPECT_TRUE(says(refusal([&] { dataset(); }), "a value for each of the 2 regions"));
    dataset_json_.erase("regions_class_order");
    EXPECT_TRUE(says(refusal([&] { dataset(); }), "no regions_class_order"));
}

TEST_F(NnunetPlans, FromBeforeArchitecturesHadAKey) {
    const Json kwargs = arguments();
    configuration().erase("architecture");
    configuration().update({{"UNet_class_name", "PlainConvUNet"},
                            {"UNet_base_num_features", 4},
                            {"unet_max_num_features", 12},
                            {"n_conv_per_stage_encoder", kwargs["n_conv_per_stage"]},
                            {"n_conv_per_stage_decoder", kwargs["n_conv_per_stage_decoder"]},
                            {"num_pool_per_axis", {2, 1, 2}},
                            {"pool_op_kernel_sizes", kwargs["strides"]},
                            {"conv_kernel_sizes", kwargs["kernel_sizes"]}});
    const Plans read = plans();
    EXPECT_EQ(read.network.name, "plain_unet");
    EXPECT_EQ(read.network.widths, (std::vector<int>{4, 8, 12})) << "16 is above the most";
    EXPECT_TRUE(says(refused([&] { configuration()["UNet_class_name"] = "Primus"; }), "Primus"));
}

TEST_F(NnunetPlans, TakeDefaultsOfNnunetForWhatIsNotSaid) {
    configuration()["resampling_fn_data_kwargs"] = {{"is_seg", false}};
    const Resampling read = plans().configuration.of_images;
    EXPECT_EQ(read.order, 3);
    EXPECT_EQ(read.order_z, 0);
    EXPECT_EQ(read.force_separate_z, false) << "null alone leaves it to the spacings";
    plans_["foreground_intensity_properties_by_modality"] = plans_["foreground_intensity_properties_per_channel"];
    plans_.erase("foreground_intensity_properties_per_channel");
    EXPECT_EQ(plans().intensities.size(), 1u);
}

TEST_F(NnunetPlans, OfManyLevelsAreRefused) {
    std::ofstream(file_) << std::string(200000, '[') << std::string(200000, ']');
    EXPECT_TRUE(says(refusal([&] { read_dataset(file_); }), "levels"));
}

TEST_F(NnunetPlans, InheritFromOtherConfigurations) {
    plans_["configurations"]["larger"] = {{"inherits_from", "3d_fullres"}, {"patch_size", {40, 24, 32}}};
    EXPECT_EQ(plans("larger").configuration.patch, Sides(40, 24, 32));
    EXPECT_EQ(plans("larger").configuration.spacing[0], 1.1);
    plans_["configurations"]["larger"]["inherits_from"] = "larger";
    EXPECT_TRUE(says(refused([] {}, "larger"), "inherits from itself"));
    EXPECT_TRUE(says(refused([] {}, "3d_lowres"), "it has 2d, 3d_fullres, larger"));
}

TEST_F(NnunetPlans, ThatAreNotSupportedAreSaidInOneSentence) {
    EXPECT_TRUE(says(refused([] {}, "2d"), "2d is of 2 dimensions"));
    EXPECT_TRUE(says(refused([&] { plans_["image_reader_writer"] = "Tiff3DIO"; }),
                     "SimpleITKIO or NibabelIO or SimpleITKIOWithReorient or NibabelIOWithReorient: others are not "
                     "supported"));
    EXPECT_TRUE(says(refused([&] { configuration()["preprocessor_name"] = "Own"; }), "DefaultPreprocessor"));
    EXPECT_TRUE(says(refused([&] { plans_["label_manager"] = "Own"; }), "LabelManager"));
    EXPECT_TRUE(says(refused([&] { configuration()["previous_stage"] = "3d_lowres"; }), "a cascade"));
    EXPECT_TRUE(says(refused([&] { configuration()["architecture"]["network_class_name"] = "a.b.Primus"; }),
                     "other architectures are not supported"));
    EXPECT_TRUE(says(refused([&] { arguments()["dropout_op"] = "torch.nn.Dropout3d"; }), "dropout_op"));
    EXPECT_TRUE(says(refused([&] { arguments()["stem_channels"] = 8; }), "this argument is not supported"));
    EXPECT_TRUE(says(refused([&] { arguments()["norm_op"] = "torch.nn.BatchNorm3d"; }), "InstanceNorm3d"));
    EXPECT_TRUE(says(refused([&] { arguments()["norm_op_kwargs"]["affine"] = false; }), "affine = true"));
    EXPECT_TRUE(says(refused([&] { arguments()["nonlin"] = "torch.nn.GELU"; }), "LeakyReLU"));
    EXPECT_TRUE(says(refused([&] { configuration()["resampling_fn_data"] = "resample_torch"; }),
                     "other ways of resampling are not supported"));
    EXPECT_TRUE(
        says(refused([&] { configuration()["normalization_schemes"] = {"OwnNormalization"}; }), "ZScoreNormalization"));
}

TEST_F(NnunetPlans, ThatAreNotUsableAreRefused) {
    EXPECT_TRUE(says(refused([&] { configuration()["patch_size"] = {32, 0, 32}; }), "from 1 to 4096"));
    EXPECT_TRUE(says(refused([&] { configuration()["spacing"] = {1, 1, -1}; }), "from 0.001 to 1000"));
    EXPECT_TRUE(says(refused([&] { configuration().erase("spacing"); }), "has no configurations.3d_fullres.spacing"));
    EXPECT_TRUE(says(refused([&] { plans_["transpose_forward"] = {0, 0, 1}; }), "the axes 0, 1 and 2"));
    EXPECT_TRUE(says(refused([&] { plans_["transpose_forward"] = {1, 2, 0}; }), "what undoes transpose_forward"));
    EXPECT_TRUE(says(refused([&] { configuration()["patch_size"] = {4096, 4096, 4096}; }), "2^28 voxels"));
    EXPECT_TRUE(says(refused([&] { arguments()["kernel_sizes"][0] = {2, 3, 3}; }), "1, 3, 5 or 7"));
    EXPECT_TRUE(says(refused([&] { arguments()["features_per_stage"] = {16384, 16384, 16384}; }), "2^31 weights"));
    EXPECT_TRUE(says(refused([&] { dataset_json_["channel_names"]["1"] = "PET"; }), "as dataset.json has channels") ||
                says(refused([&] { dataset_json_["channel_names"]["1"] = "PET"; }), "per_channel.1"));
    EXPECT_TRUE(says(refused([&] { arguments()["strides"].push_back({1, 1, 1}); }), "one a stage"));
    EXPECT_TRUE(says(refused([&] { arguments()["kernel_sizes"][0] = {3, 3}; }), "three whole numbers"));
    EXPECT_TRUE(says(refused([&] { dataset_json_["labels"]["tumour"] = 3; }), "without a gap"));
    EXPECT_TRUE(says(refused([&] { dataset_json_["labels"]["tumour"] = 1; }), "a label that no other has"));
    EXPECT_TRUE(says(refused([&] { dataset_json_["labels"] = {1, 2}; }), "labels is no object"));
}

}  // namespace
}  // namespace iwseg::nnunet
