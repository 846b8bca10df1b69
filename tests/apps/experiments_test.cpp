#include "apps/experiments/experiments.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "apps/experiments/experiments_summary.h"
#include "apps/run_folder/run_folder.h"
#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/phantom.h"
#include "evaluation/records.h"
#include "losses/loss.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// What makes a published experiment small enough to be run here, in 2 steps.
const std::vector<std::string> kTiny{"widths=[2, 2, 3, 2]",
                                     "patch=[16, 8, 16]",
                                     "epochs=1",
                                     "steps_per_epoch=2",
                                     "predict={patch = 32, stride = 24}",
                                     "threads=1"};

class Experiments : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = fs::temp_directory_path() / fmt::format("iwseg_experiments_{}", getpid());
        fs::create_directories(folder_ / "configs");
    }
    void TearDown() override { fs::remove_all(folder_); }

    fs::path config(const std::string& name, const std::string& text) const {
        write_text(folder_ / "configs" / name, text);
        return folder_ / "configs" / name;
    }

    /// Phantoms that pass for one of the studies' datasets: a second channel that is a mask, splits by name.
    fs::path dataset() const {
        const fs::path data = folder_ / "data";
        if (fs::exists(data)) return data;
        write_phantom_dataset({data, 3, 32, 5, 1});
        for (int scan = 0; scan < 3; ++scan) {
            const std::string name = fmt::format("phantom_{:03}", scan);
            Volume<std::uint8_t> mask{read_labels(data / "labelsTr" / (name + ".nii.gz")).geometry, {}};
            mask.voxels.assign(static_cast<std::size_t>(mask.geometry.voxels()), 1);
            std::fill_n(mask.voxels.begin(), mask.voxels.size() / 10, std::uint8_t{0});
            write_volume(data / "imagesTr" / (name + "_0001.nii.gz"), mask);
        }
        auto description = nlohmann::json::parse(read_text(data / "dataset.json"));
        description["channel_names"] = {{"0", "CT"}, {"1", "lungs"}};
        write_text(data / "dataset.json", description.dump());
        const nlohmann::json split{
            {"train", {"phantom_000"}}, {"validation", {"phantom_001"}}, {"test", {"phantom_002"}}};
        write_text(data / "splits.json", nlohmann::json{{"holdout", split}, {"validation", split}}.dump());
        return data;
    }

    /// Bytes of every file of a summary.
    std::map<std::string, std::string> summary_files(const fs::path& out) const {
        std::map<std::string, std::string> files;
        for (const char* name :
             {"experiments.json", "experiments.html", "froc.svg", "froc_small.svg", "froc_large.svg"})
            files[name] = read_text(out / name);
        return files;
    }

    std::string refusal(auto&& work) const {
        try {
            work();
        } catch (const InputError& error) {
            return error.what();
        }
        return "";
    }

    fs::path folder_;
};

std::vector<std::string> names_of(const std::vector<Experiment>& experiments) {
    std::vector<std::string> names;
    for (const Experiment& one : experiments) names.push_back(one.name);
    return names;
}

TEST_F(Experiments, ComeInThePapersOrderWithoutTheFilesTheyBuildOn) {
    config("base.toml", "epochs = 3");
    config("zz_first.toml", "base = \"base.toml\"\nloss = \"bce\"");
    config("fl_50.toml", "base = \"base.toml\"\nloss = \"fl\"\nfocal_alpha = 0.5");
    config("fl_25.toml", "base = \"base.toml\"\nloss = \"fl\"\nfocal_alpha = 0.25");
    config("alone.toml", "loss = \"dl\"");
    config("notes.txt", "not TOML");
    const auto listed = list_experiments(folder_ / "configs", {"batch=3"});
    EXPECT_EQ(names_of(listed), (std::vector<std::string>{"zz_first", "alone", "fl_25", "fl_50"}));
    EXPECT_EQ(listed[0].config.epochs, 3);
    EXPECT_EQ(listed[1].config.epochs, Config().epochs);
    for (const Experiment& one : listed) EXPECT_EQ(one.config.batch, 3);
}

TEST_F(Experiments, AFileMayBuildOnAFileThatBuildsOnAnother) {
    config("ground.toml", "epochs = 7\nbatch = 5\nseed = 1");
    fs::create_directories(folder_ / "configs" / "inner");
    config("inner/middle.toml", "base = \"../ground.toml\"\nbatch = 6\nseed = 2");
    const fs::path top = config("inner/top.toml", "seed = 3\nbase = \"middle.toml\"");
    const Config resolved = resolve_config(top, {});
    EXPECT_EQ(resolved.epochs, 7);
    EXPECT_EQ(resolved.batch, 6);
    EXPECT_EQ(resolved.seed, 3u);
    EXPECT_EQ(resolve_config(top, {"seed=4"}).seed, 4u);
}

TEST_F(Experiments, ABaseThatIsMissingCircularOrNoFileIsRefusedInASentence) {
    config("a.toml", "base = \"b.toml\"");
    const fs::path circular = config("b.toml", "base = \"a.toml\"");
    EXPECT_NE(refusal([&] { resolve_config(circular, {}); }).find("builds on itself"), std::string::npos);
    const fs::path missing = config("c.toml", "base = \"nowhere.toml\"");
    EXPECT_NE(refusal([&] { resolve_config(missing, {}); }).find("nowhere.toml"), std::string::npos);
    const fs::path number = config("d.toml", "base = 3");
    EXPECT_NE(refusal([&] { resolve_config(number, {}); }).find("base is 3, but a file was expected"),
              std::string::npos);
    EXPECT_NE(refusal([&] { resolve_config(std::nullopt, {"base=x.toml"}); }).find("unknown key base"),
              std::string::npos);
}

TEST_F(Experiments, AFolderWithoutExperimentsIsRefused) {
    EXPECT_NE(refusal([&] { list_experiments(folder_ / "configs", {}); }).find("holds no experiment"),
              std::string::npos);
    EXPECT_NE(refusal([&] { list_experiments(folder_ / "nowhere", {}); }).find("cannot be listed"), std::string::npos);
}

// What the study's folders say, against the paper's list (Shirokikh et al., MICCAI 2020).
TEST_F(Experiments, OfTheStudyAreTwentyFourThatDifferInOneLineEach) {
    const fs::path configs = IWSEG_CONFIGS_DIR;
    std::size_t all = 0;
    for (const char* dataset : {"luna16", "lits"}) {
        const auto listed = list_experiments(configs / dataset, {});
        all += listed.size();
        EXPECT_EQ(names_of(listed), loss_names());
        for (const Experiment& one : listed) {
            EXPECT_EQ(one.config.loss, one.name);
            const auto keys = differing_keys(listed[0].config, one.config);
            EXPECT_EQ(keys, one.name == "bce" ? std::vector<std::string>{} : std::vector<std::string>{"loss"});
            EXPECT_EQ(one.config.split_name, "holdout");
            EXPECT_EQ(one.config.steps(), 100 * 100);
            EXPECT_EQ(one.config.patch, (std::array<std::int64_t, 3>{128, 128, 128}));
            EXPECT_EQ(one.config.batch, 2);
            EXPECT_DOUBLE_EQ(one.config.learning_rate_at(7999), 1e-2);
            EXPECT_DOUBLE_EQ(one.config.learning_rate_at(8000), 1e-3);
            EXPECT_DOUBLE_EQ(one.config.focal_alpha, 0.75);
            EXPECT_EQ(one.config.seed, 0xBadCafeu);
            EXPECT_EQ(one.config.augment, Augmentation{});
        }
    }
    for (const Experiment& one : list_experiments(configs / "losses", {}))
        EXPECT_EQ(differing_keys(list_experiments(configs / "phantoms", {})[0].config, one.config),
                  std::vector<std::string>{"loss"});
    const auto search = list_experiments(configs / "luna16_validation", {});
    all += search.size();
    EXPECT_EQ(names_of(search), (std::vector<std::string>{"fl_25", "fl_50", "fl_75", "fl_83"}));
    for (const Experiment& one : search) {
        EXPECT_EQ(one.config.loss, "fl");
        EXPECT_EQ(one.config.split_name, "validation");
        EXPECT_EQ(fmt::format("fl_{:.0f}", 100 * one.config.focal_alpha), one.name);
    }
    EXPECT_EQ(all, 24u);
}

TEST_F(Experiments, AllTwentyFourTrainForAFewSteps) {
    const fs::path data = dataset();
    std::set<double> losses;
    for (const char* study : {"luna16", "lits", "luna16_validation"})
        for (const Experiment& one : list_experiments(fs::path(IWSEG_CONFIGS_DIR) / study, {})) {
            SCOPED_TRACE(study + ("/" + one.name));
            const RunFolder run(folder_ / "runs" / study / one.name);
            const Config config = config_of_run(run, one.file, kTiny, false);
            Context context({.device = "cpu", .threads = 1});
            testing::internal::CaptureStdout();
            EXPECT_TRUE(train(context, config, data, run));
            testing::internal::GetCapturedStdout();
            std::ifstream log(run.log());
            int steps = 0;
            for (std::string line; std::getline(log, line);) {
                const auto entry = nlohmann::json::parse(line);
                if (entry.contains("validation")) continue;
                const double loss = entry.at("loss");
                EXPECT_TRUE(std::isfinite(loss));
                if (steps++ == 0) losses.insert(loss);
            }
            EXPECT_EQ(steps, 2);
            EXPECT_TRUE(fs::exists(run.model()));
        }
    // Ten losses on two ways to prepare the scan, and alpha of .75 among the four: 23 of 24 begin elsewhere.
    EXPECT_EQ(losses.size(), 23u);
}

TEST_F(Experiments, OneThatFailsLeavesTheOthersToBeRunAndSummedUp) {
    config("base.toml", "channels = [\"CT\"]\nintensity = {window = [-200, 300]}\nsplit = \"holdout\"");
    config("bce.toml", "base = \"base.toml\"\nloss = \"bce\"");
    config("dl.toml", "base = \"base.toml\"\nloss = \"dl\"\nchannels = [\"PET\"]");
    config("iwdl.toml", "base = \"base.toml\"\nloss = \"iwdl\"");
    ExperimentsOptions options{dataset(), folder_ / "configs", folder_ / "out", kTiny, "cpu"};
    std::string failure;
    testing::internal::CaptureStdout();
    try {
        run_experiments(options);
    } catch (const std::runtime_error& error) {
        failure = error.what();
    }
    const std::string printed = testing::internal::GetCapturedStdout();
    EXPECT_NE(failure.find("dl: channels names channel PET"), std::string::npos) << failure;
    EXPECT_NE(printed.find("Not finished: dl"), std::string::npos);
    const auto summary = nlohmann::json::parse(read_text(options.out / "experiments.json"));
    EXPECT_EQ(summary.at("missing"), nlohmann::json{"dl"});
    EXPECT_TRUE(summary.at("corrected").contains("bce") && summary.at("corrected").contains("iwdl"));
    EXPECT_TRUE(summary.at("paper").empty());  // one scan is tested, of which 80 % is none
    EXPECT_NE(printed.find("Not computed as published"), std::string::npos);
    EXPECT_TRUE(summary.at("corrected").at("bce").at("avg_recall_interval").is_null());
    EXPECT_FALSE(summary.at("corrected").contains("dl"));
}

TEST_F(Experiments, ARunOneByOneAndARunByIndexEndWithTheSameFilesAndDoNothingTwice) {
    config("bce.toml", "loss = \"bce\"\nchannels = [\"CT\"]\nsplit = \"holdout\"");
    config("iwdl.toml", "loss = \"iwdl\"\nchannels = [\"CT\"]\nsplit = \"holdout\"\nsmall_diameter = 4.5");
    ExperimentsOptions whole{dataset(), folder_ / "configs", folder_ / "whole", kTiny, "cpu"}, array = whole;
    array.out = folder_ / "array";
    testing::internal::CaptureStdout();
    run_experiments(whole);
    for (const int index : {1, 0}) {
        array.index = index;
        run_experiments(array);
    }
    const auto files = summary_files(whole.out);
    EXPECT_EQ(summary_files(array.out), files);
    const auto trained = fs::last_write_time(whole.out / "bce" / "model.safetensors"),
               evaluated = fs::last_write_time(whole.out / "iwdl" / "records.json");
    run_experiments(whole);
    testing::internal::GetCapturedStdout();
    EXPECT_EQ(fs::last_write_time(whole.out / "bce" / "model.safetensors"), trained);
    EXPECT_EQ(fs::last_write_time(whole.out / "iwdl" / "records.json"), evaluated);
    EXPECT_EQ(summary_files(whole.out), files);
    array.index = 2;
    EXPECT_NE(refusal([&] { run_experiments(array); }).find("above the last of 2 experiments, which is 1"),
              std::string::npos);
}

/// Records of scans of two lesions of one voxel and one detection: of no voxel, of 2 on a lesion, or of 32, half the
/// scan.
Records tiny_records(const std::vector<std::string>& scans, std::int64_t detected) {
    Records records;
    for (const std::string& scan : scans) {
        std::vector<std::uint8_t> target(64);
        std::vector<float> probability(64);
        target[1] = target[9] = 1;
        std::fill_n(probability.begin(), detected, 0.9f);
        records[scan] = lesion_records({.d = 1,
                                        .h = 1,
                                        .w = 64,
                                        .target = target.data(),
                                        .probability = probability.data(),
                                        .spacing = {1, 1, 2}});
    }
    return records;
}

TEST_F(Experiments, ARunThatCoversTheScanIsNeverTheBestAndOtherScansAreSaid) {
    std::vector<Experiment> experiments;
    for (const char* name : {"blob", "sound", "less"}) {
        experiments.push_back({name, {}, {}});
        fs::create_directories(folder_ / name);
    }
    write_records(folder_ / "blob" / "records.json", tiny_records({"s1", "s2", "s3"}, 32));
    write_records(folder_ / "sound" / "records.json", tiny_records({"s1", "s2", "s3"}, 2));
    Records less = tiny_records({"s1"}, 2);
    less.merge(tiny_records({"s2"}, 0));
    write_records(folder_ / "less" / "records.json", less);
    testing::internal::CaptureStdout();
    write_summary(folder_, experiments);
    const std::string printed = testing::internal::GetCapturedStdout(), html = read_text(folder_ / "experiments.html");
    const auto summary = nlohmann::json::parse(read_text(folder_ / "experiments.json"));
    EXPECT_EQ(summary.at("corrected").at("blob").at("avg_recall"), 0);
    EXPECT_EQ(summary.at("corrected").at("sound").at("avg_recall"), 0.5);
    EXPECT_EQ(summary.at("corrected").at("blob").at("volume_ratio"), 16);
    EXPECT_EQ(summary.at("size_unit"), "mm");
    EXPECT_EQ(summary.at("corrected").at("less").at("missing_scans"), nlohmann::json{"s3"});
    EXPECT_NE(printed.find("Not the same scans: 2 of 3"), std::string::npos) << printed;
    EXPECT_NE(printed.find("16.0 (over 5)"), std::string::npos);
    const auto row = [&](const std::string& name) {
        const std::size_t begin = html.find("<th scope=\"row\">" + name + "</th>");
        return html.substr(begin, html.find("</tr>", begin) - begin);
    };
    EXPECT_EQ(row("blob").find("best"), std::string::npos);
    EXPECT_NE(row("sound").find("class=\"best\">0.500 ["), std::string::npos) << row("sound");
    std::istringstream lines(printed.substr(0, printed.find("Average recall is")));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

}  // namespace
}  // namespace iwseg
