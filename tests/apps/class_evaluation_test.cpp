#include "apps/evaluation/class_evaluation.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/volume/volume.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using LabelVolume = Volume<std::int32_t>;

/// Maps of labels of 7 x 9 x 11 voxels of unequal sides, in folders that are removed at the end.
class EvaluateClasses : public testing::Test {
  protected:
    EvaluateClasses() : folder_(fs::path(testing::TempDir()) / ("iwseg_classes_" + std::to_string(::getpid()))) {
        fs::remove_all(folder_);
        for (const char* name : {"labels", "predictions"}) fs::create_directories(folder_ / name);
        options_.reference = folder_ / "labels";
        options_.predictions = folder_ / "predictions";
        options_.out = folder_ / "out";
        options_.metrics = metric_options({"all"});
    }
    ~EvaluateClasses() override { fs::remove_all(folder_); }

    /// Boxes of random values up to `most`, of which later ones cover earlier ones.
    LabelVolume random_map(int most) {
        LabelVolume map;
        map.geometry.shape = {7, 9, 11};
        map.geometry.affine = {{{0.5, 0, 0, 0}, {0, 1.25, 0, 0}, {0, 0, 2, 0}}};
        map.voxels.resize(693);
        for (int box = 0; box < 9; ++box) {
            const int value = static_cast<int>(random_() % static_cast<unsigned>(most + 1));
            const int d = static_cast<int>(random_() % 7), h = static_cast<int>(random_() % 9),
                      w = static_cast<int>(random_() % 11);
            const int side = 1 + static_cast<int>(random_() % 3);
            for (int i = d; i < std::min(7, d + side); ++i)
                for (int j = h; j < std::min(9, h + side); ++j)
                    for (int k = w; k < std::min(11, w + side); ++k)
                        map.voxels[static_cast<std::size_t>((i * 9 + j) * 11 + k)] = value;
        }
        return map;
    }
    void write(const std::string& folder, const std::string& name, const LabelVolume& map) {
        fs::create_directories(folder_ / folder);
        write_volume(folder_ / folder / (name + ".nii.gz"), map);
    }
    /// A map in which a class alone is 1.
    static LabelVolume binary(const LabelVolume& map, const LabelClass& of) {
        LabelVolume own = map;
        for (std::int32_t& value : own.voxels) value = of.holds(value);
        return own;
    }
    std::vector<LabelClass> classes(const std::string& text) { return read_label_classes(text, {}, "--classes"); }
    std::vector<ClassEvaluation> evaluate(const std::string& text) {
        return evaluate_classes(options_, open_reference(options_), classes(text));
    }
    std::string refusal(const std::string& text) {
        try {
            evaluate(text);
        } catch (const InputError& error) {
            return error.what();
        }
        return "";
    }

    fs::path folder_;
    EvaluationOptions options_;
    std::mt19937 random_{20261130};
};

/// Each class, and each region that shares values with others, is evaluated as masks of it alone are: the same bytes.
TEST_F(EvaluateClasses, EachIsEvaluatedAsMasksOfItAloneAre) {
    for (const std::string text :
         {"one=1,two=2", "one=1, two=2+3, none=5", "all=1+2+3+4+5,most=2+3+4,two=2,three=3,five=5"}) {
        const std::vector<LabelClass> all = classes(text);
        fs::remove_all(options_.out);
        for (const std::string name : {"a", "b", "c"}) {
            const LabelVolume target = random_map(4), prediction = random_map(4);
            write("labels", name, target);
            write("predictions", name, prediction);
            for (const LabelClass& of : all) {
                write("labels_" + of.name, name, binary(target, of));
                write("predictions_" + of.name, name, binary(prediction, of));
            }
        }
        const std::vector<ClassEvaluation> evaluations = evaluate(text);
        const json document = json::parse(read_text(options_.out / "metrics.json"));
        ASSERT_EQ(evaluations.size(), all.size());
        for (const ClassEvaluation& one : evaluations) {
            EvaluationOptions alone = options_;
            alone.reference = folder_ / ("labels_" + one.of.name);
            alone.predictions = folder_ / ("predictions_" + one.of.name);
            alone.out = folder_ / "alone" / "records.json";
            evaluate_cases(alone);
            EXPECT_EQ(read_text(options_.out / one.of.name / "records.json"), read_text(alone.out)) << one.of.name;
            json own = document.at("classes").at(one.of.name);
            EXPECT_EQ(own.at("values"), json(one.of.values));
            own.erase("values");
            json expected = json::parse(read_text(folder_ / "alone" / "metrics.json"));
            EXPECT_EQ(document.at("options"), expected.at("options"));
            expected.erase("options");
            EXPECT_EQ(own, expected) << one.of.name;
        }
    }
}

TEST_F(EvaluateClasses, MeansAreOfTheClassesThatHaveOne) {
    LabelVolume target = random_map(0), prediction = target;
    target.voxels[0] = 1;
    prediction.voxels[0] = 1;
    target.voxels[50] = 2;
    prediction.voxels[300] = 2;
    write("labels", "a", target);
    write("predictions", "a", prediction);
    const auto evaluations = evaluate("one=1,two=2,none=3");
    const json document = json::parse(read_text(options_.out / "metrics.json"));
    EXPECT_DOUBLE_EQ(document.at("mean").at("dice").at("dice"), (1.0 + 0 + 1) / 3);
    EXPECT_EQ(document.at("mean_of").at("dice").at("dice"), 3);
    EXPECT_DOUBLE_EQ(document.at("mean").at("panoptic").at("pq"), 0.5);  // of nothing against nothing there is none
    EXPECT_EQ(document.at("mean_of").at("panoptic").at("pq"), 2);
    const std::string table = class_table(evaluations);
    EXPECT_NE(table.find("mean of classes                   0.500            0.667"), std::string::npos) << table;
    EXPECT_TRUE(evaluations[1].evaluation.notes.size() == 2) << "labels of other classes are nothing to be told";
}

TEST_F(EvaluateClasses, ProbabilitiesOfAClassLieInAFolderOfItsName) {
    LabelVolume target = random_map(0);
    target.voxels[5] = 2;
    write("labels", "a", target);
    write("predictions", "a", target);
    Volume<float> probability{target.geometry, std::vector<float>(target.voxels.size(), 0.25f)};
    probability.voxels[5] = 0.75f;
    fs::create_directories(options_.predictions / "two");
    write_volume(options_.predictions / "two" / "a_prob.nii.gz", probability);
    const auto evaluations = evaluate("one=1,two=2");
    EXPECT_TRUE(evaluations[0].evaluation.records.at("a").empty());
    ASSERT_EQ(evaluations[1].evaluation.records.at("a").size(), 2u);
    EXPECT_EQ(evaluations[1].evaluation.records.at("a")[1].self_stat, 0.75);
}

TEST_F(EvaluateClasses, WhatTellsNoClassesIsRefused) {
    const LabelVolume target = random_map(2);
    write("labels", "a", target);
    Volume<float> probability{target.geometry, std::vector<float>(target.voxels.size(), 0.25f)};
    write_volume(options_.predictions / "a.nii.gz", probability);
    EXPECT_NE(refusal("one=1").find("holds no whole numbers; expected labels"), std::string::npos);
    fs::remove(options_.predictions / "a.nii.gz");
    write_volume(options_.predictions / "a_prob.nii.gz", probability);
    EXPECT_NE(refusal("one=1").find("one/a_prob.nii.gz or the labels a.nii.gz"), std::string::npos) << refusal("one=1");
    options_.out = folder_ / "records.json";
    EXPECT_NE(refusal("one=1").find("expected a folder"), std::string::npos);
}

TEST_F(EvaluateClasses, SeveralFoldersAreComparedClassByClass) {
    for (const std::string name : {"a", "b"}) {
        write("labels", name, random_map(3));
        write("predictions", name, random_map(3));
        write("others", name, random_map(3));
    }
    const std::string tables = compare_classes(
        options_, open_reference(options_), classes("one=1,rest=2+3"),
        named_predictions({"p=" + options_.predictions.string(), "o=" + (folder_ / "others").string()}));
    EXPECT_NE(tables.find("class rest=2+3"), std::string::npos);
    for (const char* file : {"one/p/records.json", "one/o/records.json", "rest/p/metrics.json", "rest/o/records.json"})
        EXPECT_TRUE(fs::exists(options_.out / file)) << file;
}

}  // namespace
}  // namespace iwseg
