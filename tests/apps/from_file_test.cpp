// A program that opens a weights file by itself predicts what `iwseg predict` predicts with it, bit for bit.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <random>

#include "apps/config/config.h"
#include "apps/prediction/operating_point.h"
#include "apps/prediction/prediction_input.h"
#include "apps/prediction/prediction_run.h"
#include "apps/training/training_run.h"
#include "base/error.h"
#include "data/phantom.h"
#include "data/volume/volume.h"
#include "engine/initialisation.h"
#include "engine/safetensors.h"
#include "models/networks.h"
#include "models/predictor.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class FromFile : public testing::Test {
  protected:
    FromFile() { fs::create_directories(folder_ / "scans"); }
    ~FromFile() override { fs::remove_all(folder_); }

    /// A scan of that many files, sides no multiples of anything, spacing unequal. The last one may be a mask.
    void write_scan(int channels, bool with_nan) {
        const Extent shape{21, 18, 25};
        std::normal_distribution<float> draw(200, 300);
        for (int channel = 0; channel < channels; ++channel) {
            Volume<float> volume{{shape, {{{0.9, 0, 0, 3}, {0, 1.1, 0, -2}, {0, 0, 2.5, 0}}}}, {}};
            volume.voxels.resize(21 * 18 * 25);
            for (float& value : volume.voxels) value = random_() % 4 ? draw(random_) : 0.0f;
            if (with_nan) {
                volume.voxels[77] = std::numeric_limits<float>::quiet_NaN();
                volume.voxels[4711] = -std::numeric_limits<float>::infinity();
            }
            write_volume(folder_ / "scans" / fmt::format("a_{:04}.nii.gz", channel), volume);
        }
    }

    /// Random weights, with what training writes beside them.
    fs::path save(const Config& config, const std::vector<std::string>& channels,
                  const std::map<std::string, std::string>& changed = {}) {
        Context context({.device = "cpu", .threads = 1});
        Parameters parameters;
        const Network network = make_network(config.network, static_cast<int>(channels.size()), config.widths);
        const GridPredictor declares(context, parameters, network, {16, 16});
        initialise(context, parameters, random_());
        auto metadata = model_metadata(config, channels);
        for (const auto& [key, value] : changed)
            if (value.empty())
                metadata.erase(key);
            else
                metadata[key] = value;
        parameters.save(folder_ / "w.safetensors", metadata);
        return folder_ / "w.safetensors";
    }

    static std::vector<float> image_of(const std::vector<fs::path>& files) {
        std::vector<float> image;
        for (const fs::path& file : files) {
            const Volume<float> channel = read_image(file);
            image.insert(image.end(), channel.voxels.begin(), channel.voxels.end());
        }
        return image;
    }

    /// Gives the weights a rule by which the masks of most scans are neither all nor nothing.
    static void choose_rule(const fs::path& weights, std::vector<float> probability) {
        std::map<std::string, std::string> metadata;
        const auto tensors = read_safetensors(weights, &metadata);
        // Of distinct values: a scan's background has but one, which may be the median of all, and above all others.
        std::sort(probability.begin(), probability.end());
        probability.erase(std::unique(probability.begin(), probability.end()), probability.end());
        const float median = probability[probability.size() / 2];
        metadata["operating_point"] = operating_point_json({.rule = {std::clamp(median, 0.001f, 0.999f), 30}});
        std::vector<TensorToStore> stored;
        for (const auto& [name, tensor] : tensors) stored.push_back({name, tensor.type, tensor.shape, tensor.bytes});
        write_safetensors(weights, stored, metadata);
    }

    /// By the program, with the file alone, and by from_file: the same bytes.
    void expect_the_programs_result(const fs::path& weights, const std::vector<fs::path>& files) {
        Context context({.device = "cpu", .threads = 2});
        const std::vector<float> image = image_of(files);
        const Geometry geometry = read_geometry(files.front());
        choose_rule(weights, Predictor::from_file(context, weights).predict(image, geometry.shape).probability);
        std::vector<TrainedNetwork> networks{open_network(weights, std::nullopt)};
        const PredictionInput found = find_scans({.input = files}, networks);
        ASSERT_EQ(found.cases.size(), 1u);
        const auto& grid = networks.front().config.predict;
        predict_cases(context, networks, found.dataset, found.cases,
                      {.out = folder_ / "out", .patch = grid.patch, .stride = grid.stride});
        const std::string name = (folder_ / "out" / found.cases.front().name).string();
        const Volume<float> probability = read_image(name + "_prob.nii.gz");

        Predictor predictor = Predictor::from_file(context, weights);
        ASSERT_EQ(predictor.channels(), static_cast<int>(files.size()));
        const Prediction prediction = predictor.predict(image, geometry.shape);
        EXPECT_TRUE(prediction.probability == probability.voxels);
        EXPECT_TRUE(prediction.logit == read_image(name + "_logit.nii.gz").voxels);
        const auto mask = predictor.mask(prediction.probability, geometry.shape, geometry.spacing());
        const Volume<std::int32_t> written = read_labels(name + "_mask.nii.gz");
        EXPECT_TRUE(std::equal(mask.begin(), mask.end(), written.voxels.begin(), written.voxels.end()));
        detected_ = std::count(mask.begin(), mask.end(), 1);
        fs::remove_all(folder_ / "out");
    }

    std::vector<fs::path> files(int channels) const {
        std::vector<fs::path> named;
        for (int channel = 0; channel < channels; ++channel)
            named.push_back(folder_ / "scans" / fmt::format("a_{:04}.nii.gz", channel));
        return named;
    }

    static Config config(const std::vector<std::string>& settings) {
        std::vector<std::string> all{"widths=[3,4,5,6]", "predict.patch=15", "predict.stride=11"};
        all.insert(all.end(), settings.begin(), settings.end());
        return resolve_config(std::nullopt, all);
    }

    std::int64_t detected_ = 0;  ///< voxels of the last mask
    std::mt19937 random_{std::random_device{}()};
    fs::path folder_ = fs::path(testing::TempDir()) / fmt::format("from_file_{}", ::getpid());
};

struct ReadingCase {
    const char* what;
    std::vector<std::string> settings;
    int files;  ///< of a scan; the last is the mask where there is one
    bool nan = false;
};

TEST_F(FromFile, EveryWayOfReadingIsTheProgramsBitForBit) {
    const ReadingCase cases[] = {
        {"z-scores", {"intensity=zscore"}, 2},
        {"a window", {"intensity={window=[-100.5,400]}"}, 1},
        {"values as they are", {"intensity=none", "nan=-0.25"}, 1, true},
        {"bf16", {"intensity=zscore", "precision=bf16"}, 1},
        {"values that are not finite", {"intensity=zscore", "nan=0"}, 2, true},
        {"a mask", {"intensity=zscore", "mask_channel=brain"}, 3},
        {"a mask that is not finite", {"intensity={window=[0,300]}", "mask_channel=brain", "nan=12"}, 2, true},
        {"a plain network", {"intensity=zscore", "network=plain_unet", "widths=[4,6]"}, 2},
    };
    for (const ReadingCase& one : cases) {
        SCOPED_TRACE(one.what);
        write_scan(one.files, one.nan);
        const Config chosen = config(one.settings);
        std::vector<std::string> channels{"FLAIR", "T1"};
        channels.resize(static_cast<std::size_t>(one.files - !chosen.mask_channel.empty()));
        expect_the_programs_result(save(chosen, channels), files(one.files));
        // Of a file from before the settings were written beside the configuration.
        expect_the_programs_result(save(chosen, channels, {{"prediction", ""}}), files(one.files));
        // Of a file that a program made, without a configuration.
        expect_the_programs_result(save(chosen, channels, {{"config", ""}}), files(one.files));
    }
}

TEST_F(FromFile, TrainedOnPhantomsItIsTheProgramsOnAScanOfTheirs) {
    write_phantom_dataset({.folder = folder_ / "data", .cases = 3, .size = 32, .seed = random_()});
    Context context({.device = "cpu", .threads = 1});
    train(context,
          config({"patch=16", "epochs=1", "steps_per_epoch=3", "batch=1", "intensity={window=[-1000,400]}",
                  "validate_share=0", "learning_rate=0.001"}),
          folder_ / "data", RunFolder(folder_ / "run"));
    const Dataset data = open_dataset(folder_ / "data");
    const fs::path weights = folder_ / "run/model.safetensors";
    Predictor predictor = Predictor::from_file(context, weights);
    EXPECT_EQ(predictor.settings().channels, data.channels);
    expect_the_programs_result(weights, data.cases.front().images);
}

TEST_F(FromFile, ARealScanIsPredictedAsByTheProgram) {
    const fs::path data = fs::path(IWSEG_SHARED_DIR) / "data/isles2";
    if (!fs::exists(data)) GTEST_SKIP() << data << " is not there";
    const Dataset dataset = open_dataset(data);
    std::vector<std::string> channels = dataset.channels;
    expect_the_programs_result(save(config({"intensity=zscore", "predict.patch=64", "predict.stride=56"}), channels),
                               dataset.cases.front().images);
    EXPECT_GT(detected_, 0);
    EXPECT_LT(detected_, read_geometry(dataset.cases.front().images.front()).voxels());
}

TEST_F(FromFile, TheConfigurationsDefaultsAreThoseThatAreTakenForMissingKeys) {
    write_scan(1, false);
    const PredictionSettings read = settings_in({{"config", "loss = \"iwdl\"\n"}}, "w");
    const PredictionSettings made = prediction_settings({}, {});
    EXPECT_EQ(metadata_of(read), metadata_of(made));
}

TEST_F(FromFile, WhatConfigurationsSayIsReadOfThemAsOfTheSettings) {
    for (const auto& settings : std::vector<std::vector<std::string>>{
             {},
             {"nan=1e-30", "mask_channel='a \"quoted\" \\ name'", "tf32=false"},
             {"intensity={window=[-1e-7,1e20]}", "precision=bf16", "predict.patch=8", "predict.stride=3"}}) {
        const Config config = resolve_config(std::nullopt, settings);
        auto metadata = model_metadata(config, {"a"});
        const auto of_settings = metadata_of(settings_in(metadata, "w"));
        metadata.erase("prediction");
        EXPECT_EQ(metadata_of(settings_in(metadata, "w")), of_settings);
        EXPECT_EQ(of_settings, metadata_of(prediction_settings(config, {"a"})));
    }
}

TEST_F(FromFile, WithoutAWordOnIntensitiesAFileIsRefused) {
    write_scan(1, false);
    const fs::path weights = save(config({}), {"a"}, {{"config", ""}, {"prediction", ""}});
    Context context({.device = "cpu", .threads = 1});
    const std::string text = refusal([&] { Predictor::from_file(context, weights); });
    EXPECT_NE(text.find(weights.string() + " does not say how scans are read"), std::string::npos) << text;
}

}  // namespace
}  // namespace iwseg
