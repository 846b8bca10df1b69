#include "apps/prediction/predicted_scan.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "apps/evaluation/evaluation_cases.h"
#include "apps/evaluation/evaluation_comparison.h"
#include "base/atomic_file.h"
#include "base/error.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// Three scans of 3 x 4 x 10 voxels of 1 x 1 x 2 mm, each with two lesions (values 1 and 2), in a dataset whose label
/// values are named, and folders of other programs' predictions.
class OthersPredictions : public testing::Test {
  protected:
    OthersPredictions() : folder_(fs::path(testing::TempDir()) / ("iwseg_others_" + std::to_string(::getpid()))) {
        for (const char* name : {"imagesTr", "labelsTr", "a", "b"}) fs::create_directories(folder_ / name);
        write_text(folder_ / "dataset.json", R"({"channel_names": {"0": "CT"}, "file_ending": ".nii.gz",
            "labels": {"background": 0, "core": 1, "edge": 2, "ignore": 7}})");
        geometry_.shape = {3, 4, 10};
        geometry_.affine[2][2] = 2;
        for (const char* name : {"s1", "s2", "s3"}) {
            write_volume(folder_ / "imagesTr" / (std::string(name) + "_0000.nii.gz"), volume({}));
            write_volume(folder_ / "labelsTr" / (std::string(name) + ".nii.gz"), mask({{2, 1}, {3, 1}, {60, 2}}));
        }
        options_.dataset = folder_;
        options_.predictions = folder_ / "a";
        options_.out = folder_ / "records.json";
    }
    ~OthersPredictions() override { fs::remove_all(folder_); }

    Volume<float> volume(const std::vector<std::pair<int, float>>& values) const {
        Volume<float> volume{geometry_, std::vector<float>(120)};
        for (const auto& [voxel, value] : values) volume.voxels[voxel] = value;
        return volume;
    }
    Volume<std::int32_t> mask(const std::vector<std::pair<int, int>>& values) const {
        Volume<std::int32_t> volume{geometry_, std::vector<std::int32_t>(120)};
        for (const auto& [voxel, value] : values) volume.voxels[voxel] = value;
        return volume;
    }
    template <class T>
    void predict(const std::string& file, const Volume<T>& volume) const {
        write_volume(folder_ / file, volume);
    }
    void expect_refused(const std::string& named) const {
        try {
            evaluate_cases(options_);
            FAIL() << "expected a refusal that names " << named;
        } catch (const InputError& error) {
            EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
        }
    }

    fs::path folder_;
    Geometry geometry_;
    EvaluationOptions options_;
};

TEST_F(OthersPredictions, AFolderOfNnunetIsEvaluatedByTheDatasetsValuesWithTheScoreOne) {
    predict("a/s1.nii.gz", mask({{2, 2}, {3, 1}, {100, 1}}));
    for (const char* file : {"dataset.json", "plans.json", "s1.npz", "s1.pkl", "._s2.nii.gz"})
        write_text(folder_ / "a" / file, "{}");
    const Evaluation evaluation = evaluate_cases(options_);
    ASSERT_EQ(evaluation.cases.size(), 1u);
    EXPECT_EQ(evaluation.counts().found, 1);
    EXPECT_EQ(evaluation.counts().false_positives, 1);
    EXPECT_EQ(evaluation.records.at("s1")[2].self_stat, 1);
    EXPECT_NEAR(evaluation.records.at("s1")[2].self_logit, logit_of(1), 1e-12);
    const std::string table = evaluation_table(evaluation);
    EXPECT_NE(table.find("Evaluated 1 of 3 cases"), std::string::npos) << table;
    EXPECT_NE(table.find("for 2 cases (s2, s3)"), std::string::npos) << table;
    EXPECT_NE(table.find("Masks without probabilities in 1 of 1 cases"), std::string::npos) << table;
}

TEST_F(OthersPredictions, OurMasksAreLesionAboveZeroWhateverTheDatasetsValues) {
    options_.labels = {2};
    predict("a/s1_mask.nii.gz", mask({{60, 1}, {118, 1}}));
    const Evaluation evaluation = evaluate_cases(options_);
    EXPECT_EQ(evaluation.counts().found, 1);
    EXPECT_EQ(evaluation.counts().false_positives, 1);
    EXPECT_EQ(evaluation_table(evaluation).find("none that is lesion"), std::string::npos);
}

TEST_F(OthersPredictions, MasksThatHoldOnlyOtherLabelsAreNamed) {
    options_.labels = {2};
    predict("a/s1.nii.gz", mask({{60, 1}}));
    predict("a/s2.nii.gz", mask({{60, 2}, {2, 1}}));
    predict("a/s3.nii.gz", mask({}));
    const Evaluation evaluation = evaluate_cases(options_);
    EXPECT_EQ(evaluation.counts().found, 1);
    const std::string table = evaluation_table(evaluation);
    EXPECT_NE(table.find("Masks of 1 case (s1) hold other labels but none that is lesion"), std::string::npos) << table;
}

TEST_F(OthersPredictions, OnePredictionInTwoFormatsIsRefused) {
    for (const char* stem : {"s1_prob", "s1", "s1_mask"}) {
        for (const char* ending : {".nii.gz", ".nii"}) predict("a/" + std::string(stem) + ending, volume({{2, 0.75f}}));
        expect_refused("remove the older one");
        for (const char* ending : {".nii.gz", ".nii"}) fs::remove(folder_ / "a" / (std::string(stem) + ending));
    }
}

TEST_F(OthersPredictions, ProbabilitiesAloneGetTheirLogits) {
    for (const char* file : {"a/s1_prob.nii.gz", "a/s2.nii.gz"}) predict(file, volume({{2, 0.75f}, {3, 0.875f}}));
    const Evaluation evaluation = evaluate_cases(options_);
    ASSERT_EQ(evaluation.cases.size(), 2u);
    for (const char* name : {"s1", "s2"}) {
        EXPECT_EQ(evaluation.records.at(name)[2].self_stat, 0.875);
        EXPECT_NEAR(evaluation.records.at(name)[2].self_logit, std::log(7.0), 1e-6);  // of a float
        EXPECT_NEAR(evaluation.records.at(name)[2].hit_dice, 1, 1e-12);
    }
    EXPECT_NE(evaluation_table(evaluation).find("Logits in 2 of 2 cases"), std::string::npos);
}

TEST_F(OthersPredictions, WhatIsNoProbabilityAndNoLabelIsRefused) {
    predict("a/s1_prob.nii.gz", volume({{2, 0.5f}, {3, 1.25f}}));
    expect_refused("s1_prob.nii.gz holds 1.25; expected probabilities from 0 to 1");
    predict("a/s1_prob.nii.gz", volume({{2, -0.5f}}));
    expect_refused("holds -0.5");
    fs::remove(folder_ / "a" / "s1_prob.nii.gz");
    predict("a/s1.nii.gz", volume({{2, 0.5f}, {3, 2.5f}}));
    expect_refused("s1.nii.gz holds 2.5; expected probabilities from 0 to 1, or the whole numbers of a mask");
    predict("a/s1.nii.gz", mask({{2, 9}}));
    expect_refused("9");
    predict("a/s1.nii.gz", volume({{2, 1.000001f}, {3, 0.6f}}));  // by rounding
    EXPECT_EQ(evaluate_cases(options_).records.at("s1")[2].self_stat, 1);
}

TEST_F(OthersPredictions, IgnoredVoxelsAreLeftOut) {
    write_volume(folder_ / "labelsTr" / "s1.nii.gz", mask({{2, 1}, {3, 1}, {60, 7}, {100, 7}, {101, 7}}));
    predict("a/s1.nii.gz", mask({{2, 1}, {3, 1}, {60, 1}, {100, 1}}));
    const Evaluation evaluation = evaluate_cases(options_);
    EXPECT_EQ(evaluation.counts().lesions, 1);
    EXPECT_EQ(evaluation.counts().false_positives, 0);
    EXPECT_EQ(evaluation.mean_dice(), 1);
}

TEST_F(OthersPredictions, APlainFolderOfMasksIsAReference) {
    options_.dataset.clear();
    options_.reference = folder_ / "labelsTr";
    predict("a/s2.nii", mask({{2, 1}, {3, 1}}));
    predict("a/s9.nii.gz", mask({}));
    const Evaluation evaluation = evaluate_cases(options_);
    EXPECT_EQ(evaluation.cases.at(0).name, "s2");
    EXPECT_EQ(evaluation.counts().lesions, 2);
    EXPECT_NE(evaluation_table(evaluation).find("as no labels are there: 1 case (s9)"), std::string::npos)
        << evaluation_table(evaluation);
    predict("labelsTr/s2.nii", mask({}));
    expect_refused("of one case");
    options_.reference = folder_ / "nowhere";
    expect_refused("nowhere");
}

TEST_F(OthersPredictions, FoldersAreComparedOnTheCasesThatAllPredict) {
    for (const char* name : {"s1", "s2"}) predict(std::string("a/") + name + ".nii.gz", mask({{2, 1}, {3, 1}}));
    for (const char* name : {"s2", "s3"}) predict(std::string("b/") + name + ".nii.gz", mask({{60, 1}, {3, 1}}));
    options_.out = folder_ / "compared";
    const std::vector<NamedPredictions> named =
        named_predictions({"first=" + (folder_ / "a").string(), (folder_ / "b" / "").string()});
    EXPECT_EQ(named[0].name, "first");
    EXPECT_EQ(named[1].name, "b");
    const auto evaluations = compare_predictions(options_, open_reference(options_), named);
    for (const NamedEvaluation& one : evaluations) {
        ASSERT_EQ(one.evaluation.cases.size(), 1u);
        EXPECT_EQ(read_records(options_.out / one.name / "records.json"), one.evaluation.records);
    }
    EXPECT_EQ(evaluations[0].evaluation.counts().found, 1);
    EXPECT_EQ(evaluations[1].evaluation.counts().found, 2);
    const std::string table = comparison_table(evaluations);
    EXPECT_NE(table.find("1 lesions found by both, 0 by first alone, 1 by b alone"), std::string::npos) << table;
    EXPECT_NE(table.find("for 1 case (s3)"), std::string::npos) << table;
    EXPECT_THROW(named_predictions({(folder_ / "a").string(), "a=" + (folder_ / "b").string()}), InputError);
    EXPECT_THROW(named_predictions({(folder_ / "nowhere").string()}), InputError);
    for (const char* name : {"..", ".", "x/y"})  // results would lie outside of --out, or in it twice
        EXPECT_THROW(named_predictions({std::string(name) + "=" + (folder_ / "b").string()}), InputError) << name;
    EXPECT_THROW(named_predictions({"/"}), InputError) << "it has no name";
    EXPECT_EQ(named_predictions({(folder_ / "a" / ".." / "b" / ".").string()})[0].name, "b");
    options_.out = folder_ / "compared.json";
    EXPECT_THROW(compare_predictions(options_, open_reference(options_), named), InputError);
}

TEST_F(OthersPredictions, WhetherRecordsCanBeWrittenIsFoundOutBeforeTheWork) {
    predict("a/s1.nii.gz", mask({{2, 9}}));  // refused when it is read
    write_text(folder_ / "file", "");
    options_.out = folder_ / "file" / "records.json";
    expect_refused((folder_ / "file").string());
    options_.out = folder_ / "new" / "folder" / "records.json";
    expect_refused("holds 9");
    EXPECT_FALSE(fs::exists(folder_ / "new" / "folder")) << "nothing was written";
    predict("a/s1.nii.gz", mask({{2, 1}}));
    evaluate_cases(options_);
    EXPECT_TRUE(fs::exists(options_.out));
    EXPECT_FALSE(fs::exists(folder_ / "new" / "folder" / "records.json.part"));
}

/// Of three classes the largest may be below 1/2: it is where the labels say, with its probability as the score.
TEST_F(OthersPredictions, LabelsSayWhereAClassIsAndItsProbabilityIsTheScore) {
    fs::create_directories(folder_ / "a/edge");
    predict("a/s1.nii.gz", mask({{2, 1}, {60, 2}, {61, 2}}));
    predict("a/edge/s1_prob.nii.gz", volume({{2, 0.9f}, {60, 0.4f}, {61, 0.0f}}));
    const std::optional<PredictionFiles> files = find_prediction(folder_ / "a", "s1", "edge");
    ASSERT_TRUE(files);
    const LesionLabels edge({}, {2});
    const PredictedScan scan = read_prediction(*files, {geometry_, folder_ / "labelsTr/s1.nii.gz", edge, true});
    EXPECT_EQ(scan.threshold, 0);
    EXPECT_TRUE(scan.older_labels) << "the probability was written after them";
    EXPECT_EQ(scan.probability[2], 0) << "probable, but labelled otherwise";
    EXPECT_EQ(scan.probability[60], 0.4f);
    EXPECT_GT(scan.probability[61], 0);
    EXPECT_FALSE(scan.is_mask);

    options_.cases = {"s1"};
    const Reference reference = reference_of_class(open_reference(options_), {"edge", {2}});
    const Evaluation found = evaluate_cases(options_, reference, cases_to_evaluate(reference, {folder_ / "a"}, {"s1"}));
    EXPECT_EQ(found.counts().found, 1);
    EXPECT_EQ(found.counts().false_positives, 0);
}

TEST_F(OthersPredictions, OfManyMissingCasesSomeAreNamed) {
    for (int i = 0; i < 12; ++i)
        write_volume(folder_ / "labelsTr" / ("t" + std::to_string(10 + i) + ".nii.gz"), mask({{2, 1}}));
    options_.reference = folder_ / "labelsTr";
    predict("a/s3.nii.gz", mask({}));
    EXPECT_NE(evaluation_table(evaluate_cases(options_)).find("14 cases (s1, s2, t10, t11, t12 and 9 more)"),
              std::string::npos);
    options_.cases = {"s4"};
    expect_refused("did you mean s");
    options_.cases = {"s1"};
    expect_refused("holds no prediction of case s1");
}

}  // namespace
}  // namespace iwseg
