#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/experiments/experiment_run.h"
#include "apps/experiments/experiments.h"
#include "apps/prediction/prediction_run.h"
#include "apps/run_folder/run_files.h"
#include "apps/run_folder/run_folder.h"
#include "apps/training/fold_runs.h"
#include "apps/training/training_run.h"
#include "apps/training/validation_score.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/volume/volume.h"
#include "engine/safetensors.h"
#include "evaluation/records.h"
#include "include/iwseg/c_api.h"
#include "models/networks.h"
#include "models/predictor.h"

// Several classes and regions from configuration to report, on small scans.
namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// Scans of 22 x 19 x 17 voxels with two kinds of bright boxes, of which the brighter holds a core.
class ClassTraining : public testing::Test {
  protected:
    ClassTraining() {
        for (const char* name : {"imagesTr", "labelsTr"}) fs::create_directories(data() / name);
        write_text(data() / "dataset.json",
                   R"({"channel_names": {"0": "CT"}, "file_ending": ".nii.gz",
                       "labels": {"background": 0, "edema": 1, "rim": 2, "core": 3, "ignore": 4}})");
        for (const std::string name : {"a", "b", "c", "d"}) write_case(name);
    }
    ~ClassTraining() override { fs::remove_all(folder_); }

    fs::path data() const { return folder_ / "data"; }

    void write_case(const std::string& name) {
        Volume<float> image;
        image.geometry.shape = {22, 19, 17};
        image.geometry.affine = {{{0.8, 0, 0, 1}, {0, 1.2, 0, 2}, {0, 0, 2, 3}}};
        Volume<std::int32_t> label{image.geometry, std::vector<std::int32_t>(22 * 19 * 17)};
        std::normal_distribution<float> noise(0, 5);
        const auto fill = [&](int d, int h, int w, int side, int value) {
            for (int i = d; i < d + side; ++i)
                for (int j = h; j < h + side; ++j)
                    for (int k = w; k < w + side; ++k)
                        label.voxels[static_cast<std::size_t>((i * 19 + j) * 17 + k)] = value;
        };
        const auto draw = [&](int most) { return static_cast<int>(random_() % static_cast<unsigned>(most)); };
        for (int i = 0; i < 2; ++i) fill(draw(8), draw(14), draw(12), 4, 1);
        const int d = 10 + draw(6), h = draw(13), w = draw(11);
        fill(d, h, w, 6, 2);
        fill(d + 2, h + 2, w + 2, 2, 3);
        label.voxels[5] = 4;
        for (const std::int32_t value : label.voxels)
            image.voxels.push_back(static_cast<float>(value % 4 * 100) + noise(random_));
        write_volume(data() / "imagesTr" / (name + "_0000.nii.gz"), image);
        write_volume(data() / "labelsTr" / (name + ".nii.gz"), label);
    }

    Config tiny(const std::vector<std::string>& settings) const {
        std::vector<std::string> all{"widths=[4,6,8,8]",
                                     "patch=16",
                                     "epochs=2",
                                     "steps_per_epoch=8",
                                     "predict.patch=16",
                                     "predict.stride=12",
                                     "threads=1",
                                     "workers=1",
                                     "loss=dice + ce",
                                     "intensity={window=[0,300]}",
                                     "split.train=[\"a\", \"b\"]",
                                     "split.validation=[\"c\"]",
                                     "split.test=[\"d\"]",
                                     "validate_share=1"};
        all.insert(all.end(), settings.begin(), settings.end());
        return resolve_config(std::nullopt, all);
    }
    void run_in(const fs::path& run, const Config& config) const {
        Context context({.device = "cpu", .threads = 1});
        run_experiment(context, config, data(), RunFolder(run));
    }
    std::string refusal(const Config& config) const {
        try {
            run_in(folder_ / "refused", config);
        } catch (const InputError& error) {
            return error.what();
        }
        return "";
    }
    Volume<float> image_of(const std::string& name) const {
        return read_image(data() / "imagesTr" / (name + "_0000.nii.gz"));
    }

    fs::path folder_ = fs::path(testing::TempDir()) / fmt::format("iwseg_class_training_{}", ::getpid());
    std::mt19937 random_{7};
};

TEST_F(ClassTraining, ClassesGoFromConfigurationToReport) {
    const fs::path run = folder_ / "run";
    const Config config = tiny({"classes=\"dataset\""});
    run_in(run, config);
    write_report_of_run("classes", data(), RunFolder(run));

    // The label map lies where the scan does, holds the classes' values alone, and is what programs get of the file.
    const Volume<std::int32_t> labels = read_labels(run / "predictions/d.nii.gz");
    const Volume<float> image = image_of("d");
    EXPECT_EQ(labels.geometry.shape, image.geometry.shape);
    for (const std::int32_t value : labels.voxels) ASSERT_TRUE(value >= 0 && value <= 3) << value;
    const Context context({.device = "cpu", .threads = 1});
    Predictor predictor = Predictor::from_file(context, run / "model.safetensors");
    EXPECT_EQ(predictor.settings().classes.names, (std::vector<std::string>{"background", "edema", "rim", "core"}));
    EXPECT_EQ(predictor.settings().classes.values, (std::vector<std::int32_t>{0, 1, 2, 3}));
    EXPECT_EQ(predictor.labels(image.voxels, image.geometry.shape), labels.voxels);
    EXPECT_THROW(predictor.predict(image.voxels, image.geometry.shape), InputError);

    // The metadata say classes by their values, not by a dataset.
    std::map<std::string, std::string> metadata;
    read_safetensors_header(run / "model.safetensors", &metadata);
    EXPECT_NE(metadata.at("config").find("classes = \"edema=1, rim=2, core=3\""), std::string::npos);

    // A probability of each class, and their sum with background's is 1.
    Volume<float> sum = read_image(run / "predictions/edema/d_prob.nii.gz");
    for (const char* name : {"rim", "core"}) {
        const Volume<float> one = read_image(run / "predictions" / name / "d_prob.nii.gz");
        for (std::size_t v = 0; v < sum.voxels.size(); ++v) sum.voxels[v] += one.voxels[v];
    }
    for (const float p : sum.voxels) ASSERT_TRUE(p >= 0 && p <= 1 + 1e-5f) << p;

    // Validation, records, metrics and report know each class.
    const auto scores = read_validation_scores(run / "log.jsonl");
    ASSERT_FALSE(scores.empty());
    ASSERT_EQ(scores.back().classes.size(), 3u);
    EXPECT_EQ(scores.back().lesions,
              scores.back().classes[0].lesions + scores.back().classes[1].lesions + scores.back().classes[2].lesions);
    EXPECT_TRUE(std::isfinite(scores.back().loss));
    const auto metrics = nlohmann::json::parse(read_text(run / "classes/metrics.json"));
    EXPECT_EQ(metrics.at("classes").size(), 3u);
    EXPECT_NE(read_text(run / "report.html").find("classes/rim/report.html"), std::string::npos);
    EXPECT_TRUE(fs::exists(run / "classes/core/report.html"));

    iwseg_model* model = nullptr;
    EXPECT_NE(iwseg_open((run / "model.safetensors").string().c_str(), "cpu", 1, &model), 0);
    EXPECT_NE(std::string(iwseg_last_error()).find("several classes"), std::string::npos);

    // Nothing is made anew where nothing has changed; a class's probability is made again where it has.
    const auto made = fs::last_write_time(run / "predictions/d.nii.gz");
    run_in(run, config);
    EXPECT_EQ(fs::last_write_time(run / "predictions/d.nii.gz"), made);
    const std::string before = read_text(run / "predictions/rim/d_prob.nii.gz");
    write_text(run / "predictions/rim/d_prob.nii.gz", read_text(run / "predictions/core/d_prob.nii.gz"));
    run_in(run, config);
    EXPECT_EQ(read_text(run / "predictions/rim/d_prob.nii.gz"), before);
}

/// On scans whose values tell the classes a short training finds each.
TEST_F(ClassTraining, TellsClassesApart) {
    const fs::path run = folder_ / "learns";
    run_in(run, tiny({"classes=\"edema=1, tumour=2+3\"", "epochs=10", "learning_rate=0.05", "nonzero_fraction=1",
                      "lr_schedule=[]", "validate_share=0.01"}));
    const auto metrics = nlohmann::json::parse(read_text(run / "classes/metrics.json"));
    for (const char* name : {"edema", "tumour"})
        EXPECT_GT(metrics.at("classes").at(name).at("all").at("dice").at("mean").at("dice").get<double>(), 0.3) << name;
}

TEST_F(ClassTraining, RegionsWithTermsOfSingleLesionsTrainAndPredict) {
    const fs::path run = folder_ / "regions";
    run_in(run,
           tiny({"regions=\"all=1+2+3, tumour=2+3, core=3\"", "epochs=1", "steps_per_epoch=3",
                 "loss=dice + ce + 0.1*cat + iwce", "network=plain_unet", "widths=[4,6,8]", "deep_supervision=true"}));
    const OutputClasses classes =
        Predictor::from_file(Context({.device = "cpu", .threads = 1}), run / "model.safetensors").settings().classes;
    EXPECT_TRUE(classes.regions);
    EXPECT_EQ(classes.values, (std::vector<std::int32_t>{1, 2, 3}));
    EXPECT_TRUE(fs::exists(run / "predictions/tumour/d_prob.nii.gz"));
    EXPECT_EQ(read_validation_scores(run / "log.jsonl").back().classes.size(), 3u);
}

TEST_F(ClassTraining, AResumedTrainingGivesTheSameBytes) {
    const std::vector<std::string> settings{"classes=\"edema=1, tumour=2+3\"", "loss=dice + ce", "checkpoint_every=4"};
    const auto train_in = [&](const fs::path& run, const Config& config) {
        Context context({.device = "cpu", .threads = 1});
        train(context, config, data(), RunFolder(run));
    };
    train_in(folder_ / "whole", tiny(settings));
    Config half = tiny(settings);
    half.epochs = 1;
    train_in(folder_ / "parts", half);
    train_in(folder_ / "parts", tiny(settings));
    EXPECT_EQ(read_text(folder_ / "whole/model.safetensors"), read_text(folder_ / "parts/model.safetensors"));
}

TEST_F(ClassTraining, WhatCannotBeTrainedOnIsRefused) {
    const auto says = [](const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos;
    };
    EXPECT_TRUE(says(refusal(tiny({"classes=\"edema=1,tumour=9\""})), "tumour holds 9"));
    EXPECT_TRUE(says(refusal(tiny({"classes=\"edema=1,tumour=4\""})), "calls ignore"));
    EXPECT_THROW(tiny({"classes=\"edema=1,tumour=1\""}), InputError);
    EXPECT_THROW(tiny({"classes=\"edema=1\"", "regions=\"a=1\""}), InputError);
    EXPECT_THROW(tiny({"classes=\"edema=1\"", "labels=[1]"}), InputError);
    Volume<std::int32_t> label = read_labels(data() / "labelsTr/b.nii.gz");
    label.voxels[100] = 77;
    write_volume(data() / "labelsTr/b.nii.gz", label);
    const std::string said = refusal(tiny({"classes=\"edema=1\""}));
    EXPECT_TRUE(says(said, "labelsTr/b.nii.gz holds 77 (1 voxels)")) << said;
}

/// Labels of a step are classes already: a device must not count components in their place.
TEST_F(ClassTraining, PatchesKeepLabelsOfClasses) {
    EXPECT_EQ(sampling_options(tiny({"components=patch"})).components, ComponentMode::patch);
    for (const char* key : {"classes=\"edema=1\"", "regions=\"all=1+2\""})
        EXPECT_EQ(sampling_options(tiny({"components=patch", key})).components, ComponentMode::volume) << key;
}

TEST_F(ClassTraining, FoldsArePooledClassByClass) {
    std::vector<fs::path> runs;
    for (const std::string fold : {"fold_0", "fold_1"}) {
        runs.push_back(folder_ / "folds" / fold);
        for (const char* name : {"edema", "tumour"}) {
            fs::create_directories(RunFiles(runs.back()).of_class(name).root());
            write_records(RunFiles(runs.back()).of_class(name).records(), {{fold, {}}});
        }
    }
    pool_records(folder_ / "folds", runs);
    for (const char* name : {"edema", "tumour"})
        EXPECT_EQ(read_records(RunFiles(folder_ / "folds").of_class(name).records()).size(), 2u) << name;
    EXPECT_FALSE(fs::exists(RunFiles(folder_ / "folds").records()));
}

TEST_F(ClassTraining, ExperimentsAreComparedClassByClass) {
    const fs::path configs = folder_ / "configs";
    fs::create_directories(configs);
    const std::string common =
        "widths = [4, 6, 8, 8]\npatch = 16\nepochs = 1\nsteps_per_epoch = 2\nthreads = 1\nworkers = 1\n"
        "predict.patch = 16\npredict.stride = 12\nsplit.train = [\"a\", \"b\"]\nsplit.test = [\"d\"]\n"
        "classes = \"edema=1, tumour=2+3\"\n";
    write_text(configs / "one.toml", common + "loss = \"dice + ce\"\n");
    write_text(configs / "two.toml", common + "loss = \"dice\"\n");
    const ExperimentsOptions options{.data = data(), .configs = configs, .out = folder_ / "study", .settings = {}};
    testing::internal::CaptureStdout();
    run_experiments(options);
    const std::string printed = testing::internal::GetCapturedStdout();
    EXPECT_NE(printed.find("mean of classes"), std::string::npos);
    const std::string page = read_text(folder_ / "study/experiments.html");
    EXPECT_NE(page.find("classes/tumour/report.html"), std::string::npos);
    EXPECT_TRUE(fs::exists(folder_ / "study/classes/edema/report.html"));

    write_text(configs / "three.toml", "regions = \"whole=1+2\"\n");
    EXPECT_THROW(run_experiments(options), InputError);
}

/// The file's words are no network's: one class as before.
TEST_F(ClassTraining, AConfigurationOfOneClassIsWrittenAsBefore) {
    const std::string text = config_toml(tiny({}));
    EXPECT_EQ(text.find("classes"), std::string::npos);
    EXPECT_EQ(text.find("regions"), std::string::npos);
    const std::string several = config_toml(tiny({"classes=\"edema=1\""}));
    EXPECT_NE(several.find("classes = \"edema=1\""), std::string::npos);
}

}  // namespace
}  // namespace iwseg
