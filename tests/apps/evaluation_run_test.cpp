#include "apps/evaluation/evaluation_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/evaluation/froc_files.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/volume/volume.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// A dataset of two scans of 4 x 4 x 12 voxels and a folder of predictions, removed at the end.
class EvaluateCases : public testing::Test {
  protected:
    EvaluateCases() : folder_(fs::path(testing::TempDir()) / ("iwseg_evaluate_" + std::to_string(::getpid()))) {
        for (const char* name : {"imagesTr", "labelsTr", "predictions"}) fs::create_directories(folder_ / name);
        write_text(
            folder_ / "dataset.json",
            R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1, "other": 2}, "file_ending": ".nii.gz"})");
        // a: two lesions, of which the larger is found, and one false positive. b: nothing, and nothing predicted.
        write_case("a", {{5, 1}, {6, 1}, {7, 1}, {100, 2}}, {{6, 2.0f}, {7, 3.0f}, {60, 1.0f}});
        write_case("b", {}, {});
        options_ = {.dataset = folder_,
                    .reference = {},
                    .predictions = folder_ / "predictions",
                    .out = folder_ / "records.json",
                    .cases = {},
                    .labels = {}};
    }
    ~EvaluateCases() override { fs::remove_all(folder_); }

    void write_case(const std::string& name, const std::vector<std::pair<int, int>>& labels,
                    const std::vector<std::pair<int, float>>& logits) {
        Geometry geometry;
        geometry.shape = {4, 4, 12};
        Volume<std::int32_t> label{geometry, std::vector<std::int32_t>(192)};
        Volume<float> probability{geometry, std::vector<float>(192)}, logit{geometry, std::vector<float>(192, -4.0f)};
        for (const auto& [voxel, value] : labels) label.voxels[voxel] = value;
        for (const auto& [voxel, value] : logits) {
            logit.voxels[voxel] = value;
            probability.voxels[voxel] = 0.9f;
        }
        write_volume(folder_ / "imagesTr" / (name + "_0000.nii.gz"), logit);
        write_volume(folder_ / "labelsTr" / (name + ".nii.gz"), label);
        write_volume(folder_ / "predictions" / (name + "_prob.nii.gz"), probability);
        write_volume(folder_ / "predictions" / (name + "_logit.nii.gz"), logit);
    }
    void expect_refused(const std::string& named) {
        try {
            evaluate_cases(options_);
            FAIL() << "expected a refusal that names " << named;
        } catch (const InputError& error) {
            EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
        }
        EXPECT_FALSE(fs::exists(options_.out));
    }

    fs::path folder_;
    EvaluationOptions options_;
};

TEST_F(EvaluateCases, CountsLesionsAndWritesTheirRecords) {
    const Evaluation evaluation = evaluate_cases(options_);
    ASSERT_EQ(evaluation.cases.size(), 2u);
    const LesionCounts& a = evaluation.cases[0].counts;
    EXPECT_EQ(a.lesions, 2);
    EXPECT_EQ(a.found, 1);
    EXPECT_EQ(a.false_positives, 1);
    EXPECT_EQ(a.small_lesions, 1);  // the single voxel
    EXPECT_EQ(a.small_found, 0);
    EXPECT_NEAR(evaluation.cases[0].overlap.dice(), 4.0 / 7.0, 1e-12);
    EXPECT_EQ(evaluation.cases[1].overlap.dice(), 1.0);
    EXPECT_EQ(read_records(options_.out), evaluation.records);
    EXPECT_TRUE(evaluation.records.at("b").empty());
    EXPECT_NE(evaluation_table(evaluation).find("0 of 1"), std::string::npos);
}

TEST_F(EvaluateCases, MetricsAreWrittenPerCaseOverAllAndBySize) {
    options_.metrics = metric_options({"all"});
    const Evaluation evaluation = evaluate_cases(options_);
    const auto document = nlohmann::json::parse(read_text(folder_ / "metrics.json"));
    const auto &a = document.at("cases").at("a"), &b = document.at("cases").at("b"), &all = document.at("all");
    // The lesion of three voxels is hit by two of them, the single voxel missed; for BraTS they grow together.
    EXPECT_EQ(a.at("panoptic").at("true_positives"), 1);
    EXPECT_NEAR(a.at("panoptic").at("sq"), 2.0 / 3, 1e-12);
    EXPECT_NEAR(a.at("panoptic").at("pq"), 1.0 / 3, 1e-12);
    EXPECT_EQ(a.at("brats").at("false_negatives"), 0);
    EXPECT_NEAR(a.at("brats").at("dice"), 4.0 / 6 / 2, 1e-12);
    EXPECT_EQ(a.at("picai").at("false_negatives"), 1);
    EXPECT_NEAR(a.at("picai").at("average_precision"), 0.25, 1e-12);
    EXPECT_NEAR(a.at("volume").at("target_ml"), 0.004, 1e-15);
    EXPECT_NEAR(a.at("volume").at("relative_error"), -0.25, 1e-12);
    EXPECT_TRUE(b.at("panoptic").at("pq").is_null());
    EXPECT_EQ(b.at("brats").at("dice"), 1);
    EXPECT_TRUE(b.at("picai").at("average_precision").is_null());
    EXPECT_EQ(b.at("hd95").at("hd95"), 0);
    EXPECT_TRUE(b.at("volume").at("relative_error").is_null());
    EXPECT_NEAR(all.at("panoptic").at("mean").at("pq"), 1.0 / 3, 1e-12);  // of the case that has one
    EXPECT_EQ(all.at("panoptic").at("cases").at("pq"), 1);
    EXPECT_NEAR(all.at("brats").at("mean").at("dice"), (1.0 / 3 + 1) / 2, 1e-12);
    EXPECT_NEAR(all.at("brats").at("pooled").at("dice"), 1.0 / 3, 1e-12);
    EXPECT_FALSE(all.at("dice").contains("pooled"));
    ASSERT_EQ(document.at("by_size").size(), 2u);
    const auto &small = document.at("by_size")[0], &large = document.at("by_size")[1];
    EXPECT_EQ(small.at("picai").at("false_negatives"), 1);
    EXPECT_EQ(small.at("picai").at("false_positives"), 1);
    EXPECT_EQ(large.at("picai").at("average_precision"), 1);
    EXPECT_TRUE(large.at("diameter_up_to").is_null());
    EXPECT_NE(evaluation_table(evaluation).find("lesions pooled"), std::string::npos);
}

TEST_F(EvaluateCases, SmallLesionsMayBeCutAtADiameter) {
    options_.metrics = metric_options({"picai"});
    options_.small_diameter = 50;
    const Evaluation evaluation = evaluate_cases(options_);
    EXPECT_EQ(evaluation.counts().small_lesions, 2);
    const auto strata = nlohmann::json::parse(read_text(folder_ / "metrics.json")).at("by_size");
    ASSERT_EQ(strata.size(), 2u);
    EXPECT_EQ(strata[0].at("diameter_up_to"), 50);
    EXPECT_EQ(strata[0].at("picai").at("true_positives"), 1);
    EXPECT_TRUE(strata[1].at("picai").at("average_precision").is_null());
    EXPECT_NE(evaluation_table(evaluation).find("at most 50.0 voxels"), std::string::npos);
    EXPECT_THROW(metric_options({"panoptik"}), InputError);
    options_.out = folder_ / "metrics.json";
    EXPECT_THROW(evaluate_cases(options_), InputError);
}

TEST_F(EvaluateCases, OnlyChosenLabelsAreLesions) {
    options_.labels = {2};
    options_.cases = {"a"};
    const LesionCounts counts = evaluate_cases(options_).counts();
    EXPECT_EQ(counts.lesions, 1);
    EXPECT_EQ(counts.false_positives, 2);
}

TEST_F(EvaluateCases, MissingAndUnusablePredictionsAreRefused) {
    options_.cases = {"c"};
    expect_refused("c");
    options_.cases = {"a"};
    const fs::path logit = folder_ / "predictions" / "a_logit.nii.gz";
    Volume<float> volume = read_image(logit);
    volume.voxels[3] = std::numeric_limits<float>::infinity();
    write_volume(logit, volume);
    expect_refused("a_logit.nii.gz");
    volume.voxels[3] = 0;
    volume.geometry.affine[0][3] += 5;  // mm
    write_volume(logit, volume);
    expect_refused("a_logit.nii.gz");
    fs::remove(logit);
    fs::remove(folder_ / "predictions" / "a_prob.nii.gz");
    expect_refused("a_prob.nii.gz, a.nii.gz or a_mask.nii.gz");
    options_.cases.clear();
    options_.predictions = folder_ / "imagesTr";
    expect_refused("imagesTr");
}

TEST_F(EvaluateCases, FrocFilesHoldWhatTheRecordsSay) {
    const std::vector<NamedFroc> frocs{{"dl", compute_froc(evaluate_cases(options_).records, {})}};
    const auto json = nlohmann::json::parse(froc_json(frocs, FrocProtocol::corrected));
    EXPECT_EQ(json["dl"]["scans"], 2);
    EXPECT_EQ(json["dl"]["lesions"], 2);
    EXPECT_NEAR(json["dl"]["object_dice"].get<double>(), 0.8, 1e-12);
    EXPECT_NEAR(json["dl"]["fp_per_scan_at_lowest"].get<double>(), 0.5, 1e-12);
    EXPECT_EQ(json["dl"]["sensitivity"].size(), 7u);
    EXPECT_NE(froc_chart(frocs, "FROC").find("</svg>"), std::string::npos);
    EXPECT_NE(froc_table(frocs, FrocProtocol::corrected).find("1.2-1.2: 0.000; 0 of 1"), std::string::npos);
}

}  // namespace
}  // namespace iwseg
