// What makes the results of a run stale: files and settings that differ from those they were made of.
#include "apps/run_folder/staleness.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "apps/experiments/experiment_run.h"
#include "apps/prediction/operating_point.h"
#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "data/phantom.h"
#include "data/volume/volume.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class Staleness : public testing::Test {
  protected:
    Staleness() : folder_(fs::temp_directory_path() / ("iwseg_stale_" + std::to_string(std::random_device{}()))) {
        fs::create_directories(folder_);
    }
    ~Staleness() override { fs::remove_all(folder_); }

    Ingredients made_of(const std::map<std::string, std::string>& settings = {{"predict.patch", "16"}}) const {
        return {{{"a", folder_ / "a"}, {"b", folder_ / "b"}}, settings};
    }
    Words changes(const Ingredients& now) const { return RunInputs(folder_ / "inputs.json").changes("result", now); }
    void set_time(const fs::path& file, int hours) const {
        fs::last_write_time(file, fs::last_write_time(file) + std::chrono::hours(hours));
    }

    fs::path folder_;
};

TEST_F(Staleness, ContentsDecideAndTimesAloneDoNot) {
    write_text(folder_ / "a", "one"), write_text(folder_ / "b", "two");
    RunInputs(folder_ / "inputs.json").record("result", Snapshot::of(made_of()));
    EXPECT_EQ(changes(made_of()), Words{});
    // A copy or a checkout: other times, later or earlier, the same bytes.
    set_time(folder_ / "a", 5), set_time(folder_ / "b", -5);
    EXPECT_EQ(changes(made_of()), Words{});
    // As long as before, and older.
    write_text(folder_ / "b", "owt"), set_time(folder_ / "b", -100);
    EXPECT_EQ(changes(made_of()), Words{"b has changed"});
    // Longer, but with the time it had.
    const auto time = fs::last_write_time(folder_ / "a");
    write_text(folder_ / "a", "three"), write_text(folder_ / "b", "two");
    fs::last_write_time(folder_ / "a", time);
    EXPECT_EQ(changes(made_of()), Words{"a has changed"});
}

TEST_F(Staleness, FilesThatComeAndGoAndSettingsAreNamed) {
    write_text(folder_ / "a", "one"), write_text(folder_ / "b", "two");
    RunInputs(folder_ / "inputs.json").record("result", Snapshot::of(made_of()));
    EXPECT_EQ(changes(made_of({{"predict.patch", "24"}})), Words{"predict.patch is 24"});
    Ingredients other{{{"a", folder_ / "a"}, {"c", folder_ / "a"}}, made_of().settings};
    EXPECT_EQ(changes(other), (Words{"c is new", "b is no part any more"}));
    fs::remove(folder_ / "b");
    EXPECT_EQ(changes(made_of()), Words{"b is gone"});
    EXPECT_FALSE(RunInputs(folder_ / "inputs.json").knows("another"));
    write_text(folder_ / "inputs.json", "{\"result\": 3");
    EXPECT_FALSE(RunInputs(folder_ / "inputs.json").knows("result"));
}

TEST_F(Staleness, WhatIsReplacedDuringTheWorkIsStale) {
    write_text(folder_ / "a", "one"), write_text(folder_ / "b", "two");
    Snapshot before = Snapshot::of(made_of());
    write_text(folder_ / "b", "three");  // while the result is made of the former
    write_text(folder_ / "c", "result");
    before.add(Snapshot::of({{{"c", folder_ / "c"}}, {}}));
    RunInputs(folder_ / "inputs.json").record("result", before);
    Ingredients now = made_of();
    now.files.emplace_back("c", folder_ / "c");
    EXPECT_EQ(changes(now), Words{"b has changed"});
}

TEST_F(Staleness, PredictionsAreNotedHoweverTheirFolderIsWritten) {
    fs::create_directories(folder_ / "run" / "predictions");
    Dataset dataset;
    dataset.folder = folder_;
    const std::vector<Case> cases{{"s", {folder_ / "a"}, std::nullopt}};
    write_text(folder_ / "a", "one");
    RunInputs(folder_ / "run" / "inputs.json")
        .record(prediction_result("s"), Snapshot::of({{{"a", folder_ / "a"}}, {}}));
    write_text(folder_ / "a", "another");
    for (const char* way : {"run/predictions", "run/predictions/", "run/predictions/.", "run/../run/predictions//"}) {
        testing::internal::CaptureStdout();
        note_stale_predictions(folder_ / way, dataset, cases);
        EXPECT_NE(testing::internal::GetCapturedStdout().find("were made of other scans: a has changed"),
                  std::string::npos)
            << way;
    }
}

TEST_F(Staleness, CorrectedLabelsAndScansAreNoticedByARun) {
    const fs::path data = folder_ / "data";
    PhantomOptions phantoms;
    phantoms.folder = data, phantoms.cases = 3, phantoms.size = 32;
    write_phantom_dataset(phantoms);
    const Dataset dataset = open_dataset(data);
    const std::string train = dataset.cases[0].name, first = dataset.cases[1].name, second = dataset.cases[2].name;
    Config config;
    config.widths = {2, 2, 2, 2}, config.patch = {16, 16, 16}, config.epochs = 1, config.steps_per_epoch = 2;
    config.predict = {16, 16}, config.threads = config.workers = 1;
    config.split = {{train}, {}, {first, second}};
    const RunFolder run(folder_ / "run");
    Context context({.device = "cpu", .threads = 1});
    const auto again = [&] {
        testing::internal::CaptureStdout();
        run_experiment(context, config, data, run);
        write_report_of_run("run", data, run);
        return testing::internal::GetCapturedStdout();
    };
    const auto says = [](const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos;
    };
    again();
    const std::string records = read_text(run.records());
    const auto report = fs::last_write_time(run.report());
    std::string said = again();
    EXPECT_TRUE(says(said, "records.json is there already") && !says(said, "anew")) << said;
    EXPECT_EQ(fs::last_write_time(run.report()), report);

    // What the report shows beside records, masks and scans: the link to all experiments, how masks were chosen, the
    // split.
    const auto made_anew = [&](const std::string& summary) { return write_report_of_run("run", data, run, summary); };
    EXPECT_TRUE(made_anew("../experiments.html"));
    EXPECT_TRUE(says(read_text(run.report()), "../experiments.html"));
    EXPECT_FALSE(made_anew("../experiments.html"));
    for (const fs::path& file : {run.sessions(), run.split()}) {
        write_text(file, read_text(file) + "\n");
        EXPECT_TRUE(made_anew("../experiments.html")) << file;
    }
    write_text(run.operating_point(), operating_point_json({.rule = {0.25f, 0}, .scans = 1}));
    EXPECT_TRUE(made_anew("../experiments.html"));
    fs::remove(run.operating_point());
    EXPECT_TRUE(made_anew(""));
    EXPECT_FALSE(made_anew(""));
    const auto report_now = fs::last_write_time(run.report());

    // The key nan says how scans are read.
    config.nan = 0;
    said = again();
    EXPECT_TRUE(says(said, "predict  " + first) && says(said, "nan is 0")) << said;

    // A label of a scan to test is corrected: records and report are made anew, predictions are not. Its time is older
    // than the results', as after a copy that keeps times.
    const fs::path label = data / "labelsTr" / (first + ".nii.gz");
    Volume<std::int32_t> corrected = read_labels(label);
    corrected.voxels[0] = corrected.voxels[1] = 1;
    write_volume(label, corrected);
    fs::last_write_time(label, fs::last_write_time(label) - std::chrono::hours(1));
    said = again();
    EXPECT_TRUE(says(said, "anew     records.json: labelsTr/" + first + ".nii.gz has changed")) << said;
    EXPECT_FALSE(says(said, "predict  ")) << said;
    EXPECT_NE(read_text(run.records()), records);
    EXPECT_NE(fs::last_write_time(run.report()), report_now);

    // A scan: its prediction is made anew, and what follows from it.
    const fs::path image = data / "imagesTr" / (second + "_0000.nii.gz");
    Volume<float> scan = read_image(image);
    for (float& voxel : scan.voxels) voxel += 100 * static_cast<float>(&voxel - scan.voxels.data()) / 1e4f;
    write_volume(image, scan);
    said = again();
    EXPECT_TRUE(says(said, "anew     prediction of " + second + ": imagesTr/" + second + "_0000.nii.gz has changed"))
        << said;
    EXPECT_TRUE(says(said, "predict  " + second) && !says(said, "predict  " + first)) << said;

    // Settings of the prediction.
    config.predict.stride = 8;
    said = again();
    EXPECT_TRUE(says(said, "predict  " + first) && says(said, "predict.stride is 8")) << said;

    // A training is not begun anew by itself.
    const fs::path trained_on = data / "labelsTr" / (train + ".nii.gz");
    write_volume(trained_on, corrected);
    said = again();
    EXPECT_TRUE(says(said, "begun on other files (labelsTr/" + train + ".nii.gz has changed)")) << said;
    EXPECT_TRUE(says(said, "records.json is there already")) << said;
}

}  // namespace
}  // namespace iwseg
