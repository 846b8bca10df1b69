#include "apps/training/training_run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "apps/prediction/ensemble.h"
#include "apps/prediction/operating_point.h"
#include "apps/prediction/prediction_run.h"
#include "apps/training/fold_runs.h"
#include "apps/training/validation_plan.h"
#include "apps/training/validation_score.h"
#include "apps/training/weight_check.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/phantom.h"
#include "engine/context.h"
#include "engine/safetensors.h"
#include "kernels/components/detection.h"

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
        write_halves();
    }
    static void TearDownTestSuite() { fs::remove_all(folder()); }

    /// Scans half of which is lesion: what marks all of them finds it, so that any network chooses a rule.
    static void write_halves() {
        const fs::path data = folder() / "halves";
        for (const char* part : {"imagesTr", "labelsTr"}) fs::create_directories(data / part);
        for (int i = 0; i < kCases; ++i) {
            Volume<float> image;
            image.geometry.shape = {24, 24, 16};
            image.voxels.resize(24 * 24 * 16);
            Volume<std::uint8_t> label{image.geometry, std::vector<std::uint8_t>(image.voxels.size())};
            for (std::size_t v = 0; v < image.voxels.size(); ++v) {
                label.voxels[v] = v < image.voxels.size() / 2;
                image.voxels[v] = static_cast<float>(label.voxels[v] * 100 + static_cast<int>(v * 7 + i * 13) % 50);
            }
            write_volume(data / fmt::format("imagesTr/phantom_00{}_0000.nii.gz", i), image);
            write_volume(data / fmt::format("labelsTr/phantom_00{}.nii.gz", i), label);
        }
        write_text(data / "dataset.json", R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1},
                                              "numTraining": 6, "file_ending": ".nii.gz"})");
    }

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

    static bool train_in(const fs::path& run, const Config& config, const char* data = "data") {
        Context context({.device = "cpu", .threads = 1});
        return train(context, config, folder() / data, RunFolder(run));
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
    train_in(run, tiny(joined(split_with(3), {"epochs=5", "learning_rate=0.1", "validate_share=1", "batch=8"})),
             "halves");
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
    std::int64_t best = 24;
    std::vector<std::string> settings;
    for (const char* rate : {"0.2", "0.4", "0.1", "0.05", "0.8", "1.6"}) {
        fs::remove_all(run);
        settings = joined(split_with(2), {std::string("learning_rate=") + rate, "validate_share=1", "lr_schedule=[]"});
        train_in(run, tiny(joined(settings, {"epochs=6"})));
        best = best_of(read_validation_scores(run / "log.jsonl"))->step;
        if (best < 24) break;
    }
    ASSERT_LT(best, 24) << "the last weights are the best at every rate: nothing is shown";
    train_in(shorter, tiny(joined(settings, {fmt::format("epochs={}", best / 4)})));
    expect_same_tensors(run / "best.safetensors", shorter / "model.safetensors");
}

TEST_F(TrainingRun, WithoutCheckpointsTheModelTellsHowFarItIs) {
    const fs::path run = folder() / "no_checkpoints";
    train_in(run, tiny(joined(split_with(0), {"epochs=1"})));
    EXPECT_EQ(metadata_of(run / "model.safetensors").at("step"), "4");
    fs::remove_all(run / "checkpoints");
    EXPECT_FALSE(train_in(run, tiny(joined(split_with(0), {"epochs=1"}))));
    const std::string model = read_text(run / "model.safetensors");
    try {
        train_in(run, tiny(joined(split_with(0), {"epochs=5"})));
        FAIL() << "4 of 20 steps counted as all";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("is of step 4"), std::string::npos) << error.what();
    }
    EXPECT_EQ(read_text(run / "model.safetensors"), model);
    EXPECT_EQ(read_text(run / "config.toml"), config_toml(tiny(joined(split_with(0), {"epochs=1"}))));
}

/// The halves, the scans of the given numbers without a lesion.
fs::path with_healthy(const fs::path& halves, const std::string& name, const std::vector<int>& healthy) {
    const fs::path data = halves.parent_path() / name;
    fs::copy(halves, data, fs::copy_options::recursive);
    for (const int scan : healthy) {
        const fs::path file = data / fmt::format("labelsTr/phantom_00{}.nii.gz", scan);
        Volume<std::int32_t> label = read_labels(file);
        std::fill(label.voxels.begin(), label.voxels.end(), 0);
        write_volume(file, label);
    }
    return data;
}

TEST_F(TrainingRun, APassLooksAtScansWithALesionFirst) {
    with_healthy(folder() / "halves", "one_of_three", {2, 3});
    const fs::path run = folder() / "lesions_first";
    train_in(run, tiny(joined(split_with(3), {"epochs=1"})), "one_of_three");
    const std::vector<ValidationScore> scores = read_validation_scores(run / "log.jsonl");
    ASSERT_EQ(scores.size(), 1u);
    EXPECT_EQ(scores[0].scans, 1) << "no more fits the share";
    EXPECT_EQ(scores[0].lesions, 1);
    EXPECT_TRUE(fs::exists(run / "best.safetensors"));
}

TEST_F(TrainingRun, PassesWithoutALesionKeepNoBestAndSaySo) {
    with_healthy(folder() / "halves", "healthy", {2, 3, 4});
    const fs::path run = folder() / "no_best";
    testing::internal::CaptureStdout();
    train_in(run, tiny(joined(split_with(3), {"validate_share=1"})), "healthy");
    const std::string said = testing::internal::GetCapturedStdout();
    for (const char* sentence : {"None of them has a lesion: no best weights are kept.",
                                 "best     none is kept: no pass had a scan with a lesion",
                                 "the validation scans have no lesion to choose another rule by"})
        EXPECT_NE(said.find(sentence), std::string::npos) << sentence << " in " << said;
    EXPECT_EQ(said.find("recall"), std::string::npos) << said;
    EXPECT_FALSE(fs::exists(run / "best.safetensors"));
    for (const auto& line : log_of(run))
        if (line.contains("validation")) {
            EXPECT_FALSE(line.at("best").get<bool>());
        }
}

TEST_F(TrainingRun, DamagedBestWeightsDoNotKeepATrainingFromItsEnd) {
    const fs::path run = folder() / "damaged_best";
    const Config config = tiny(joined(split_with(3), {"validate_share=1"}));
    train_in(run, config, "halves");
    const std::string model = read_text(run / "model.safetensors"), best = read_text(run / "best.safetensors");
    for (const std::string& damaged : {best.substr(0, best.size() / 2), std::string("{"), std::string()}) {
        fs::remove(run / "model.safetensors");
        if (damaged.empty())
            fs::remove(run / "best.safetensors");
        else
            write_text(run / "best.safetensors", damaged);
        testing::internal::CaptureStdout();
        EXPECT_TRUE(train_in(run, config, "halves"));
        const std::string said = testing::internal::GetCapturedStdout();
        EXPECT_NE(said.find("the best, and is left as it is"), std::string::npos) << said;
        EXPECT_EQ(read_text(run / "model.safetensors"), model);
    }
}

TEST_F(TrainingRun, AResumedTrainingMakesEachPassOnce) {
    const fs::path whole = folder() / "whole", broken = folder() / "broken_off";
    const auto settings =
        joined(split_with(3), {"validate_every=2", "validate_share=1", "checkpoint_every=3", "epochs=3"});
    train_in(whole, tiny(settings), "halves");
    train_in(broken, tiny(settings), "halves");
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
    train_in(folder() / "to_8", to_8, "halves");
    fs::copy(folder() / "to_8/checkpoints/step_8", broken / "checkpoints/step_8", fs::copy_options::recursive);
    fs::copy(folder() / "to_8/best.safetensors", broken / "best.safetensors");
    train_in(broken, tiny(settings), "halves");
    EXPECT_EQ(without_times(broken), without_times(whole));
    EXPECT_EQ(read_text(broken / "model.safetensors"), read_text(whole / "model.safetensors"));
    EXPECT_EQ(read_text(broken / "operating_point.json"), read_text(whole / "operating_point.json"));
    EXPECT_EQ(read_text(broken / "best.safetensors"), read_text(whole / "best.safetensors"));
}

TEST_F(TrainingRun, AFoldsScansAreSaidToBeTestScansToo) {
    write_text(folder() / "halves/splits_final.json",
               R"([{"train": ["phantom_000", "phantom_001"], "val": ["phantom_002", "phantom_003"]},
                   {"train": ["phantom_002", "phantom_003"], "val": ["phantom_000", "phantom_004"]}])");
    const fs::path run = folder() / "fold_1";
    train_in(run, tiny({"fold=1", "epochs=1", "validate_share=1"}), "halves");
    const Split split = read_split(run / "split.json");
    EXPECT_EQ(split.train, (std::vector<std::string>{"phantom_002", "phantom_003"}));
    EXPECT_EQ(split.test, (std::vector<std::string>{"phantom_000", "phantom_004"}));
    const OperatingPoint point =
        parse_operating_point(metadata_of(run / "model.safetensors").at("operating_point"), "run");
    EXPECT_EQ(point, parse_operating_point(read_text(run / "operating_point.json"), "run"));
    EXPECT_TRUE(point.on_test_scans);
    ASSERT_EQ(point.test_scans.size(), 2u) << "so that the weights alone know them";
    for (const char* name : {"phantom_000", "phantom_004"})
        EXPECT_EQ(static_cast<std::uintmax_t>(point.test_scans.at(name)),
                  fs::file_size(folder() / "halves/imagesTr" / (std::string(name) + "_0000.nii.gz")));
    EXPECT_THROW(train_in(folder() / "fold_2", tiny({"fold=2"}), "halves"), InputError);
    EXPECT_THROW(tiny(joined(split_with(1), {"fold=1"})), InputError) << "the split is named already";
    EXPECT_EQ(chosen_folds("all", folder() / "halves"), (std::vector<int>{0, 1}));
    EXPECT_EQ(chosen_folds("1", folder() / "halves"), (std::vector<int>{1}));
    for (const char* bad : {"2", "-1", "one", "", "1.5"})
        EXPECT_THROW(chosen_folds(bad, folder() / "halves"), InputError) << bad;
    for (const char* other : {"fold_01", "fold_x", "fold_", "fold_1_old"}) fs::create_directories(folder() / other);
    EXPECT_EQ(fold_runs("all", folder()), (std::vector<fs::path>{run})) << "fold_01 would be fold 1 once more";
    write_text(folder() / "split.toml", "[split]\ntrain = [\"phantom_000\"]\n");
    const auto never = [](const fs::path& out, const auto&) { ADD_FAILURE() << out << " was trained"; };
    for (const char* fold : {"0", "all"}) {
        const FoldRequest request{fold, folder() / "halves", folder() / "folds", {}, {}};
        FoldRequest with_split = request;
        for (const auto& settings : {std::vector<std::string>{"split=holdout"}, split_with(1)}) {
            with_split.settings = settings;
            EXPECT_THROW(for_each_fold(with_split, never), InputError);
        }
        with_split = request;
        with_split.config = folder() / "split.toml";
        EXPECT_THROW(for_each_fold(with_split, never), InputError);
    }
    std::vector<std::string> trained;
    for_each_fold(
        {"all", folder() / "halves", "folds", {}, {"epochs=1"}},
        [&](const fs::path& out, const auto& settings) { trained.push_back(out.string() + " " + settings.back()); });
    EXPECT_EQ(trained, (std::vector<std::string>{"folds/fold_0 fold=0", "folds/fold_1 fold=1"}));
    fs::remove(folder() / "halves/splits_final.json");
    EXPECT_THROW(chosen_folds("all", folder() / "halves"), InputError);
    EXPECT_THROW(train_in(folder() / "other", tiny({"fold=1"}), "halves"), InputError);
}

/// Predicts one phantom with the networks of the runs; the volumes are read from the folder.
void predict_one(const std::vector<fs::path>& runs, const fs::path& data, const fs::path& out,
                 const MaskOptions& masks = {}) {
    Context context({.device = "cpu", .threads = 1});
    std::vector<TrainedNetwork> networks;
    for (const fs::path& run : runs) networks.push_back(open_network(run / "model.safetensors", run / "config.toml"));
    const Dataset dataset = open_dataset(data);
    PredictionOptions options;
    options.out = out;
    options.patch = 24;
    options.stride = 16;
    options.masks = masks;
    predict_cases(context, networks, dataset, {dataset.find("phantom_005")}, options);
}

TEST_F(TrainingRun, AnEnsembleIsTheMeanOfItsNetworks) {
    const std::vector<fs::path> runs{folder() / "one", folder() / "two", folder() / "three"};
    for (std::size_t i = 0; i < runs.size(); ++i)
        train_in(runs[i], tiny(joined(split_with(0), {"epochs=2", fmt::format("seed={}", 7 + i)})));
    std::vector<Volume<float>> logits, probabilities;
    const auto read = [&](const fs::path& out, const char* what) {
        return read_image(out / fmt::format("phantom_005_{}.nii.gz", what));
    };
    for (const fs::path& run : runs) {
        predict_one({run}, folder() / "data", run / "predictions");
        logits.push_back(read(run / "predictions", "logit"));
        probabilities.push_back(read(run / "predictions", "prob"));
    }
    predict_one(runs, folder() / "data", folder() / "mean");
    const Volume<float> logit = read(folder() / "mean", "logit"), probability = read(folder() / "mean", "prob");
    EXPECT_NE(probabilities[0].voxels, probabilities[1].voxels);
    for (std::size_t v = 0; v < logit.voxels.size(); ++v) {
        // Two additions and a division in f32.
        const double mean_logit = (0.0 + logits[0].voxels[v] + logits[1].voxels[v] + logits[2].voxels[v]) / 3;
        const double mean =
            (0.0 + probabilities[0].voxels[v] + probabilities[1].voxels[v] + probabilities[2].voxels[v]) / 3;
        ASSERT_NEAR(logit.voxels[v], mean_logit, 1e-5 * (1 + std::abs(mean_logit)));
        ASSERT_NEAR(probability.voxels[v], mean, 1e-6);
    }
    train_in(folder() / "other_reading", tiny(joined(split_with(0), {"epochs=1", "intensity=zscore"})));
    EXPECT_THROW(predict_one({runs[0], folder() / "other_reading"}, folder() / "data", folder() / "never"), InputError);
    std::vector<TrainedNetwork> networks;
    for (const fs::path& run : runs) networks.push_back(open_network(run / "model.safetensors", run / "config.toml"));
    EXPECT_EQ(other_grids(networks), "");
    networks[1].config.predict = {32, 24};
    EXPECT_EQ(other_grids(networks),
              fmt::format("predict.patch and predict.stride differ: 24 and 16 of {}, 32 and 24 of {}",
                          networks[0].weights.string(), networks[1].weights.string()));
    EXPECT_EQ(cases_not_trained_on(open_dataset(folder() / "data"), runs).size(), 4u) << "two of six are trained on";

    // Files of weights are read once: from here on they are not there, and the networks take turns all the same.
    Context context({.device = "cpu", .threads = 1});
    PredictionOptions grid;
    grid.patch = 24;
    grid.stride = 16;
    EnsemblePredictor ensemble(context, networks, grid);
    EnsemblePredictor single(context, {networks[0]}, grid);
    for (const fs::path& run : runs) fs::remove(run / "model.safetensors");
    std::vector<float> image(21 * 26 * 17);
    std::mt19937 random(std::random_device{}());
    for (float& value : image) value = std::normal_distribution<float>()(random);
    const Prediction first = ensemble.predict(image.data(), 21, 26, 17),
                     second = ensemble.predict(image.data(), 21, 26, 17);
    EXPECT_EQ(first.logit, second.logit);
    EXPECT_EQ(first.probability, second.probability);
    EXPECT_NE(first.logit, single.predict(image.data(), 21, 26, 17).logit);
}

TEST_F(TrainingRun, PredictMakesMasksByTheWeightsPointUnlessAskedOtherwise) {
    const fs::path run = folder() / "masked";
    train_in(run, tiny(joined(split_with(1), {"epochs=1", "validate_share=1"})));
    Parameters weights;
    for (const auto& [name, tensor] : read_safetensors(run / "model.safetensors"))
        if (!name.ends_with("num_batches_tracked"))
            weights.declare({name, tensor.shape, {}, name.find(".running_") == std::string::npos});
    weights.load(run / "model.safetensors");
    predict_one({run}, folder() / "data", run / "plain", {.threshold = 0.5, .min_volume = 0.0});
    Volume<float> probability = read_image(run / "plain/phantom_005_prob.nii.gz");
    std::vector<float> sorted = probability.voxels;
    std::sort(sorted.begin(), sorted.end());
    const float threshold = sorted[sorted.size() * 9 / 10];  // of which something is above
    auto metadata = metadata_of(run / "model.safetensors");
    metadata["operating_point"] = operating_point_json({.rule = {threshold, 8}, .scans = 1, .lesions = 2});
    weights.save(run / "model.safetensors", metadata);
    predict_one({run}, folder() / "data", run / "chosen");
    predict_one({run}, folder() / "data", run / "asked", {.min_volume = 0.0});
    const auto mask_in = [&](const char* out) {
        const Volume<std::int32_t> mask = read_labels(run / out / "phantom_005_mask.nii.gz");
        return std::vector<std::uint8_t>(mask.voxels.begin(), mask.voxels.end());
    };
    const auto by = [&](const DetectionRule& rule) {
        return detect(probability.voxels.data(), probability.geometry.shape, probability.geometry.spacing(), rule);
    };
    EXPECT_EQ(mask_in("plain"), by({0.5f, 0}));
    EXPECT_EQ(mask_in("chosen"), by({threshold, 8}));
    EXPECT_EQ(mask_in("asked"), by({threshold, 0}));
    EXPECT_NE(mask_in("chosen"), mask_in("plain"));
    EXPECT_EQ(read_image(run / "chosen/phantom_005_prob.nii.gz").voxels, probability.voxels);
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
    // The first two have a lesion, and neither fits: the cheaper one, less often, though one without would fit.
    const ValidationPlan leading = plan_validation({3000, 2000, 300}, budget, 2);
    EXPECT_EQ(leading.scans, (std::vector<std::size_t>{1}));
    EXPECT_EQ(leading.every, 30);
    EXPECT_EQ(plan_validation({300, 2000, 300}, budget, 2).scans, (std::vector<std::size_t>{0, 2}));
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
    ValidationScore empty;
    empty.dice = 1;
    EXPECT_EQ(best_of({empty, empty}), nullptr) << "without a lesion the emptiest network would be the best";
}

TEST(WeightCheck, NamesTheArrayThatCannotBeUsed) {
    Parameters parameters;
    const ParameterId weight = parameters.declare({"0.weight", {2, 3}});
    const ParameterId mean = parameters.declare({"1.bn.running_mean", {2}, {}, false});
    const ParameterId variance = parameters.declare({"1.bn.running_var", {2}, {}, false});
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
